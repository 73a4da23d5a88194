"""login, logout, whoami."""

import sys
from typing import Annotated

import typer

from taskyard.client.commands import output
from taskyard.client.commands.fields import BadField
from taskyard.client.commands.session import (
    AsJson,
    address,
    command,
    connect,
)
from taskyard.client.commands.terminal import is_terminal, put
from taskyard.client.i18n import gettext as _


@command
def login(
    username: Annotated[str, typer.Argument(help=_("asked for where it is not given"))] = "",
    url: Annotated[
        str, typer.Option(help=_("the server; else that of TASKYARD_URL, or this machine"))
    ] = "",
    register: Annotated[
        bool, typer.Option("--register", help=_("make the user first"), show_default=False)
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Log in and keep the tokens.

    The password is asked for; where there is no terminal, it is a line of stdin.
    """
    with connect(url=(url or address()).rstrip("/")) as client:
        username = username or _asked(_("Username"), hidden=False)
        password = _asked(_("Password"), hidden=True)
        if register:
            client.register(username, password)
        client.login(username, password)
        profile = client.me()
    if as_json:
        output.as_json(profile.raw)
    else:
        put(_("Logged in at %(url)s as %(name)s") % {"url": client.url, "name": profile.username})


@command
def logout(as_json: AsJson = False) -> None:
    """End the login, here and on the server."""
    with connect() as client:
        client.logout()
    if as_json:
        output.as_json({"logged_out": True})


@command
def whoami(as_json: AsJson = False) -> None:
    """Show who is logged in, and where."""
    with connect() as client:
        profile, limits = client.me(), client.limits()
        url = client.url
    if as_json:
        used = {"active": limits.active, "active_limit": limits.active_limit}
        output.as_json({**profile.raw, "url": url, **used})
        return
    output.pairs(
        {
            _("user"): profile.username,
            _("server"): url,
            _("active tasks"): f"{limits.active} / {limits.active_limit}",
        }
    )


def _asked(name: str, *, hidden: bool) -> str:
    if sys.stdin is None:
        raise BadField(_("%(name)s: standard input is closed") % {"name": name})
    if is_terminal(sys.stdin):
        return str(typer.prompt(name, hide_input=hidden, err=True))
    # Some shells begin what they pipe with a byte order mark.
    return sys.stdin.readline().removeprefix("\ufeff").rstrip("\r\n")
