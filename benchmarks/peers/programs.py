"""What the small programs of the peers in Python have in common: their command line."""

import sys
from collections.abc import Callable


def gate() -> None:
    """Say that this worker is ready, and wait for the others."""
    print("ready", flush=True)
    sys.stdin.readline()


def play(**verbs: Callable[[int], object]) -> None:
    """`python -m … fill 1000`: call what has that name with the number; print what it returns."""
    verb, count = sys.argv[1], int((*sys.argv[2:], "0")[0])
    answer = verbs[verb](count)
    if answer is not None:
        print(answer)
