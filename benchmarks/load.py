"""Load over HTTP, made by `wrk`: creates of many users in turn, and plain GETs.

A measurement with one wrong response does not count: every response other than 2xx raises.
"""

import http.client
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUM = '{"task_type":"sum","input_data":{"numbers":[%d,1]}}'
CREATE_PATH = "/api/tasks/create/"
TIMEOUT_SECONDS = 30

CREATES = """
local tokens, n, body, text = {tokens}, 0, {body}, nil
local headers = {{["Content-Type"] = "application/json"}}
request = function()
  n = n + 1
  headers["Authorization"] = tokens[n % #tokens + 1]
  text = body:gsub("%%d", n, 1)
  return wrk.format("POST", {path}, headers, text)
end
"""
GETS = """
local paths, n, headers = {paths}, 0, {{["Authorization"] = {token}}}
request = function()
  n = n + 1
  return wrk.format("GET", paths[n % #paths + 1], headers)
end
"""
# Exact numbers instead of the rounded ones that wrk prints.
DONE = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"errors":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""


@dataclass(frozen=True)
class Load:
    """The results of a run of wrk; p50 and p99 in seconds."""

    per_second: float
    p50: float
    p99: float
    errors: int


@dataclass(frozen=True)
class Target:
    """The address of the creates, and the users who send them."""

    port: int
    path: str
    tokens: tuple[str, ...]

    def create(self, connections: int, seconds: int, body: str = SUM) -> Load:
        """POST `body` for so long; its first %d is the number of the request."""
        self._try("POST", self.path, self.tokens[0], body.replace("%d", "0", 1))
        script = CREATES.format(
            tokens=_table(f"Bearer {token}" for token in self.tokens),
            body=_quoted(body),
            path=_quoted(self.path),
        )
        return _wrk(self.port, script, connections, seconds)

    def get(self, paths: Sequence[str], connections: int, seconds: int) -> Load:
        """GET these paths in turn as the first user."""
        for path in paths[:3]:
            self._try("GET", path, self.tokens[0], None)
        script = GETS.format(paths=_table(paths), token=_quoted(f"Bearer {self.tokens[0]}"))
        return _wrk(self.port, script, connections, seconds)

    def _try(self, method: str, path: str, token: str, body: str | None) -> None:
        """Send one request and require a 2xx, because wrk counts a redirect as a success."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")


def _wrk(port: int, script: str, connections: int, seconds: int) -> Load:
    with tempfile.TemporaryDirectory(prefix="taskyard-wrk-") as directory:
        file = Path(directory) / "load.lua"
        file.write_text(script + DONE)
        ran = subprocess.run(
            [
                *("wrk", "--threads", "1", "--connections", str(connections)),
                *("--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"),
                *("--latency", "--script", str(file), f"http://127.0.0.1:{port}"),
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 2 * TIMEOUT_SECONDS,
            check=False,
        )
    lines = [line[7:] for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
    if ran.returncode or not lines:
        raise RuntimeError(f"wrk failed:\n{ran.stdout}{ran.stderr}")
    saw = json.loads(lines[0])
    if saw["errors"] or not saw["requests"]:
        raise RuntimeError(f"answers that were no success:\n{ran.stdout}")
    return Load(
        per_second=saw["requests"] / saw["microseconds"] * 1e6,
        p50=saw["p50"] / 1e6,
        p99=saw["p99"] / 1e6,
        errors=saw["errors"],
    )


def _quoted(text: str) -> str:
    """A Lua string. JSON's escapes are also Lua's if the text is ASCII."""
    return json.dumps(text)


def _table(texts: object) -> str:
    return "{" + ",".join(_quoted(text) for text in texts) + "}"  # type: ignore[attr-defined]
