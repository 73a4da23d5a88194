"""The HTTP protocol of the one port: what is no HTTP is refused in JSON like everything else."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REFUSAL = b'{"detail":"This is not an HTTP request.","code":"bad_request"}'
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"connection: close\r\n"
    b"\r\n%b" % (len(_REFUSAL), _REFUSAL)
)


class Protocol(HttpToolsProtocol):
    def send_400_response(self, msg: str) -> None:
        self.transport.write(_ANSWER)
        self.transport.close()
