"""The commands of the group `keys`."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from taskyard.client.commands import output
from taskyard.client.commands.fields import BadField
from taskyard.client.commands.session import AsJson, command, connect, notice
from taskyard.client.commands.terminal import echo
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import ApiKey


@command
def list_(as_json: AsJson = False) -> None:
    """List your API keys, oldest first, without the keys themselves."""
    with connect() as client:
        keys = client.keys()
    if as_json:
        for key in keys:
            output.print_json(key.raw)
        return
    columns = [_("key"), _("prefix"), _("name"), _("scopes"), _("task types")]
    output.print_table([*columns, _("created"), _("expires"), _("last used")], map(_row, keys))


@command
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help=_("what the key is for"))],
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="SCOPE",
            help=_(
                "what the key may do: tasks:submit, tasks:read, tasks:cancel, files, schedules, "
                "webhooks; repeatable"
            ),
        ),
    ],
    task_type: Annotated[
        list[str] | None,
        typer.Option(
            "--type", metavar="TYPE", help=_("a task type that it may submit; default: all")
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help=_("the key expires in N days; default: never")),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it.

    The server never shows it again. A program sends it in the place of a token, for example in
    TASKYARD_TOKEN.
    """
    expires_at = None if days is None else _in_days(days)
    with connect() as client:
        key = client.create_key(name, scope, task_types=task_type or None, expires_at=expires_at)
    if as_json:
        output.print_json(key.raw)
        return
    notice(_("This is key %(id)s. Keep it now: it is not shown again.") % {"id": key.id})
    echo(key.key or "")


@command
def revoke(
    key_ids: Annotated[
        list[int], typer.Argument(metavar="ID...", min=1, help=_("the ids of the keys"))
    ],
    as_json: AsJson = False,
) -> None:
    """Revoke API keys. The server refuses them from now on."""
    from taskyard.client import NotFound

    with connect() as client:
        for key_id in key_ids:
            try:
                client.revoke_key(key_id)
            except NotFound as error:
                error.detail = _("There is no key %(id)s, or it is not yours.") % {"id": key_id}
                raise
            if as_json:
                output.print_json({"id": key_id, "revoked": True})


def _in_days(days: int) -> datetime:
    try:
        return datetime.now().astimezone() + timedelta(days=days)
    except OverflowError:
        raise BadField(_("--days: so many days are too far away")) from None


def _row(key: "ApiKey") -> list[str]:
    return [
        *(str(key.id), key.prefix, key.name, " ".join(key.scopes)),
        "" if key.task_types is None else " ".join(key.task_types),
        *map(output.local_time, (key.created_at, key.expires_at, key.last_used_at)),
    ]
