"""The `taskyard` command: the operator's words go to the server, all others to the client.

Neither is imported before it is known to be wanted.
"""

import gc
import sys

# As taskyard.server.cli has them, which is too much to load for `taskyard --help`.
OPERATOR = {
    "up": "database, broker, migrations, web and worker, until Ctrl-C",
    "web": "the web alone, on HOST and PORT",
    "worker": "a worker alone, with TASKYARD_CONCURRENCY processes",
    "migrate": "bring the database to the current version",
    "createsuperuser": "make an administrator",
    "backup": "write the database to a file, while it is in use",
    "restore": "replace the database by that of a backup; taskyard must be stopped",
    "doctor": "check this installation",
    "settings": "print the table of environment variables",
    "manage": "any command of Django's",
}


def main() -> int:
    """Run one command; the exit code."""
    if sys.argv[1:2] and sys.argv[1] in OPERATOR:
        from taskyard.server.cli import main as operate

        return operate()
    from taskyard.client.commands.app import main as ask

    try:
        return ask(OPERATOR)
    finally:
        # Else the interpreter looks through all of it on its way out, for a tenth of a second.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
