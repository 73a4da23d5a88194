"""The command line that the small Python programs of the peers share."""

import sys
from collections.abc import Callable


def gate() -> None:
    """Print that this worker is ready, and wait for the others."""
    print("ready", flush=True)
    sys.stdin.readline()


def play(**verbs: Callable[[int], object]) -> None:
    """`python -m … fill 1000`: call the function of that name with the number; print its result."""
    verb, count = sys.argv[1], int((*sys.argv[2:], "0")[0])
    answer = verbs[verb](count)
    if answer is not None:
        print(answer)
