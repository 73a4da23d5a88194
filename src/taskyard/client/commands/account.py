"""login, logout, whoami."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from taskyard.client.commands import output
from taskyard.client.commands.fields import BadField
from taskyard.client.commands.session import (
    AsJson,
    command,
    connect,
    server_url,
)
from taskyard.client.commands.terminal import echo, is_terminal
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import Client, Profile
    from taskyard.client.device import DeviceCode


@command
def login(
    username: Annotated[str, typer.Argument(help=_("if omitted, the command asks for it"))] = "",
    url: Annotated[
        str, typer.Option(help=_("the server; default: TASKYARD_URL, or this machine"))
    ] = "",
    register: Annotated[
        bool, typer.Option("--register", help=_("create the user first"), show_default=False)
    ] = False,
    sso: Annotated[
        bool, typer.Option("--sso", help=_("sign in with a browser"), show_default=False)
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Log in and save the tokens.

    The command asks for the password; without a terminal it reads a line from stdin.
    With --sso it shows a link and a code for a browser on any machine.
    """
    if sso and (username or register):
        raise BadField(_("--sso: the browser asks who you are"))
    with connect(url=(url or server_url()).rstrip("/")) as client:
        if sso:
            client.login_sso(_show)
            _say_logged_in(client, as_json=as_json)
            return
        username = username or _prompt(_("Username"), hidden=False)
        password = _prompt(_("Password"), hidden=True)
        if register:
            client.register(username, password)
        client.login(username, password)
        _say_logged_in(client, as_json=as_json)


@command
def logout(as_json: AsJson = False) -> None:
    """End the login, here and on the server."""
    with connect() as client:
        client.logout()
    if as_json:
        output.print_json({"logged_out": True})


@command
def whoami(as_json: AsJson = False) -> None:
    """Show the logged-in user and the server.

    With an API key it shows no user, because keys may not read the profile.
    """
    with connect() as client:
        limits, profile = client.limits(), _profile(client)
        url = client.url
    if as_json:
        quota = {"active": limits.active, "active_limit": limits.active_limit}
        output.print_json({**(profile.raw if profile else {}), "url": url, **quota})
        return
    output.print_pairs(
        {
            _("user"): profile.username if profile else "",
            _("server"): url,
            _("active tasks"): f"{limits.active} / {limits.active_limit}",
        }
    )


def _profile(client: "Client") -> "Profile | None":
    """The user; None if the token is an API key."""
    from taskyard.client import RequestRejected

    try:
        return client.me()
    except RequestRejected as error:
        if error.code != "insufficient_scope":
            raise
        return None


def _say_logged_in(client: "Client", *, as_json: bool) -> None:
    profile = client.me()
    if as_json:
        output.print_json(profile.raw)
    else:
        echo(_("Logged in at %(url)s as %(name)s") % {"url": client.url, "name": profile.username})


def _show(device: "DeviceCode") -> None:
    """Print where to sign in. To stderr, because stdout is for the result."""
    words = {"url": device.direct_url or device.url, "code": device.code}
    echo(_("Open %(url)s and check that it shows the code %(code)s") % words, err=True)


def _prompt(name: str, *, hidden: bool) -> str:
    if sys.stdin is None:
        raise BadField(_("%(name)s: standard input is closed") % {"name": name})
    if is_terminal(sys.stdin):
        return str(typer.prompt(name, hide_input=hidden, err=True))
    # Some shells put a byte order mark before piped text.
    return sys.stdin.readline().removeprefix("\ufeff").rstrip("\r\n")
