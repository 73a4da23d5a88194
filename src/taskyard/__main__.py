"""The `taskyard` command: runs the operator's commands in the server, all others in the client.

It imports only the one that it needs.
"""

import gc
import sys
from importlib.util import find_spec

from taskyard import __version__
from taskyard.operator_help import OPERATOR


def main() -> int:
    """Run one command; the exit code."""
    # The package taskyard-client has no server, and the server does not run on Windows.
    has_server = sys.platform != "win32" and find_spec("taskyard.server") is not None
    # `export --mine` is the client's: it needs a login and no database.
    mine = sys.argv[1:2] == ["export"] and "--mine" in sys.argv
    if has_server and sys.argv[1:2] and sys.argv[1] in OPERATOR and not mine:
        from taskyard.server.cli import main as server_main

        return server_main()
    from taskyard.client.commands.app import main as client_main

    try:
        return client_main(OPERATOR, version=__version__, has_server=has_server)
    finally:
        # Else a garbage collection at the interpreter's exit takes a tenth of a second.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
