"""A reverse proxy under a path, on a port of its own."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Front(ThreadingHTTPServer):
    """`with Front(live.port, path="/jobs") as front`: forwards requests under the path only.

    ``strips`` the path as `proxy_pass http://…/;` does; replaces the client's ``headers``.
    """

    daemon_threads = True

    def __init__(
        self,
        port: int,
        *,
        path: str = "",
        strips: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.path, self.strips = port, path, strips
        self.headers = headers or {}
        self.site = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()
        self.server_close()


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
