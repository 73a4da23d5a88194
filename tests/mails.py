"""Mails that Taskyard sends: an SMTP server for tests, and what a reader takes from a mail."""

import re
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from tests.configured import configure

PUBLIC_URL = "https://tasks.example.org"
SENDER = "Taskyard <taskyard@example.org>"


def configure_mail(settings: Any) -> None:
    """Let this process send mails, which Django's test runner keeps in ``django.core.mail``."""
    configure(settings, EMAIL_FROM=SENDER, PUBLIC_URL=PUBLIC_URL, EMAIL_RATE=None)


def sent() -> list[Any]:
    """All mails of the test, after the thread has sent those that wait."""
    from django.core import mail

    from taskyard.accounts import outbox

    assert outbox.wait(20)
    return list(mail.outbox)


def link_in(text: str) -> str:
    """The only link in a mail."""
    (link,) = re.findall(r"https?://\S+", text)
    return str(link)


def code_in(text: str) -> str:
    return link_in(text).partition("#")[2]


class MailServer:
    """An SMTP server that keeps the mails that it gets; it refuses recipients at ``nowhere``,
    and those at ``later`` the first time."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self.port: int = server.server_address[1]

    def wait_for(self, count: int) -> list[EmailMessage]:
        """The mails, when there are so many."""
        deadline = time.monotonic() + 20
        while len(self._server.mails) < count:
            assert time.monotonic() < deadline, f"{len(self._server.mails)} mails have come"
            time.sleep(0.02)
        return list(self._server.mails)


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with _Server(("127.0.0.1", 0), _Session) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield MailServer(server)
        server.shutdown()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    mails: list[EmailMessage]
    has_refused = False

    def server_activate(self) -> None:
        self.mails = []
        super().server_activate()


class _Session(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as smtplib speaks."""

    server: _Server

    def handle(self) -> None:
        self._answer("220 ready")
        while line := self.rfile.readline():
            match line[:4].upper():
                case b"EHLO":
                    self._answer("250-hello\r\n250 8BITMIME")
                case b"RCPT" if b"@nowhere" in line:
                    self._answer("550 no such mailbox")
                case b"RCPT" if b"@later" in line and not self.server.has_refused:
                    self.server.has_refused = True
                    self._answer("451 try again later")
                case b"DATA":
                    self._answer("354 go on")
                    self.server.mails.append(self._data())
                    self._answer("250 kept")
                case b"QUIT":
                    self._answer("221 bye")
                    return
                case _:
                    self._answer("250 ok")

    def _data(self) -> EmailMessage:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return message_from_bytes(b"".join(lines), policy=policy.default)  # type: ignore[return-value]

    def _answer(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
