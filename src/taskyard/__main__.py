"""The `taskyard` command: runs the operator's commands in the server, all others in the client.

It imports only the one that it needs.
"""

import gc
import sys

from taskyard.operator_help import OPERATOR


def main() -> int:
    """Run one command; the exit code."""
    # `export --mine` is the client's: it needs a login and no database.
    mine = sys.argv[1:2] == ["export"] and "--mine" in sys.argv
    if sys.argv[1:2] and sys.argv[1] in OPERATOR and not mine:
        from taskyard.server.cli import main as server_main

        return server_main()
    from taskyard.client.commands.app import main as client_main

    try:
        return client_main(OPERATOR)
    finally:
        # Else a garbage collection at the interpreter's exit takes a tenth of a second.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
