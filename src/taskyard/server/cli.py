"""The operator's commands of `taskyard`: which there are, and how one is run."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from taskyard.operator_help import OPERATOR
from taskyard.server.commands import data, people, running
from taskyard.server.commands.shared import is_host_project
from taskyard.server.env import ConfigurationError

# These commands read the environment of our own project.
OURS_ALONE = ("up", "web", "migrate", "createsuperuser", "staff", "backup", "restore", "doctor")

Command = Callable[[Sequence[str]], int]
COMMANDS: dict[str, Command] = {
    command.__name__.rstrip("_").replace("_", "-"): command
    for command in (
        *(running.up, running.web, running.worker, running.migrate, people.createsuperuser),
        *(people.invite, people.change_password, data.backup, data.restore, data.export),
        *(data.import_, people.staff, data.audit, people.service_account, data.reconcile),
        *(people.rotate_secrets, people.encryption_key, running.doctor, running.settings),
        *(running.manage,),
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 2 for wrong usage or an unusable environment."""
    parser = argparse.ArgumentParser(
        prog="taskyard",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:16} {OPERATOR[name]}" for name in COMMANDS),
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    arguments = list(sys.argv[1:] if argv is None else argv)
    name: str = parser.parse_args(arguments[:1]).command
    try:
        if name in OURS_ALONE and is_host_project():
            raise ConfigurationError(
                f"`taskyard {name}` is for Taskyard's own project, and DJANGO_SETTINGS_MODULE "
                f"names another: {os.environ['DJANGO_SETTINGS_MODULE']}"
            )
        return COMMANDS[name](arguments[1:])
    except ConfigurationError as error:
        print(f"taskyard: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
