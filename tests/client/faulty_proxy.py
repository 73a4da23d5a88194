"""A proxy that injects faults of networks and proxies between a client and Taskyard."""

import http.client
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.local_server import LocalServer

LOSE, BUSY, OFTEN = "the answer is lost", "503", "429"


class FaultyProxy(LocalServer):
    """`with FaultyProxy(live.url) as proxy`: each request gets the next of ``proxy.faults``."""

    def __init__(self, url: str) -> None:
        super().__init__(_Handler)
        self.target = urlsplit(url).netloc
        self.faults: list[str] = []
        self.paths: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: FaultyProxy

    def forward(self) -> None:
        self.close_connection = True
        self.server.paths.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault in (BUSY, OFTEN):
            self.send_response(int(fault))
            self.send_header("Retry-After", "1")
            self.end_headers()
            return
        headers = {
            name: value for name, value in self.headers.items() if name.lower() != "connection"
        }
        upstream = http.client.HTTPConnection(self.server.target, timeout=60)
        upstream.request(self.command, self.path, body or None, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if fault == LOSE:
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = forward

    def log_message(self, *arguments: Any) -> None:
        pass
