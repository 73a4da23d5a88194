"""A reverse proxy under a path, on a port of its own."""

import http.client
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.local_server import LocalServer


class Front(LocalServer):
    """`with Front(live.port, path="/jobs") as front`: forwards requests under the path only.

    ``strips`` the path as `proxy_pass http://…/;` does; replaces the client's ``headers``.
    """

    def __init__(
        self,
        port: int,
        *,
        path: str = "",
        strips: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(_Handler)
        self.target, self.path, self.strips = port, path, strips
        self.headers = headers or {}


class _Handler(BaseHTTPRequestHandler):
    server: Front

    def relay(self) -> None:
        self.close_connection = True
        if not self.path.startswith(f"{self.server.path}/"):
            self.send_error(404, "not under the path")
            return
        path = self.path.removeprefix(self.server.path) if self.server.strips else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.title(): value for name, value in self.headers.items()}
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=60)
        upstream.request(self.command, path, body or None, {**headers, **self.server.headers})
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        while piece := answer.read1(65536):
            self.wfile.write(piece)
        upstream.close()

    do_GET = do_POST = do_DELETE = relay

    def log_message(self, *arguments: Any) -> None:
        pass
