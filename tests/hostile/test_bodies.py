"""Hostile bodies: numbers, depths, characters, forms and sizes."""

import gzip
import json
import secrets
from typing import Any

import pytest

from tests.hostile.attack import Attack, raw
from tests.live_system import Live

pytestmark = pytest.mark.servers
CREATE = "/api/tasks/create/"
LIMIT = 256 * 1024
SUM = b'{"task_type":"sum","input_data":{"numbers":%s}}'
MANY_DIGITS = b"9" * 5000
LONG = b"9" * 4300
PROBLEM = {"Accept": "application/problem+json"}


def test_numbers(attack: Attack) -> None:
    """numbers: 1e400, NaN, Infinity, 1e308 twice, 5,000 digits, booleans, none, 10,001"""
    user = attack.user()
    for numbers in (
        *(b"[1e400]", b"[-1e400]", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1e308,1e308]"),
        *(b"[%s]" % MANY_DIGITS, b"[%s,%s]" % (LONG, LONG), b"[-%s]" % MANY_DIGITS),
        *(b"[true]", b"[1,false]", b"[]", b"[null]", b'["1"]', b"[[1]]", b"[{}]", b"[01]", b"[+1]"),
        *(b"[1,]", b"[.5]", b"[0x10]", b"[9007199254740992]", b"[-9007199254740992]", b"[1e16]"),
        *(b"null", b"1", b'"1"', b"{}", b"true", b"[%s1]" % (b"1," * 10_000)),
    ):
        attack.post(CREATE, SUM % numbers, 400, user=user)
        attack.post(CREATE, SUM % numbers, 400, user=user, headers=PROBLEM)
    for count in (b"1e400", b"NaN", MANY_DIGITS, b"1e308", b"true", b"1.0"):
        body = b'{"task_type":"squares","input_data":{"number":%s}}' % count
        attack.post(CREATE, body, 400, user=user)
    for option in ("delay", "timeout", "max_attempts", "run_at", "tags", "priority"):
        for value in (b"1e400", MANY_DIGITS, LONG, b"-1", b"true", b"[]", b"{}", b'"\\u0000"'):
            if (option, value) == ("tags", b"[]"):
                continue
            body = SUM[:-1] % b"[1]" + b',"%s":%s}' % (option.encode(), value)
            attack.post(CREATE, body, 400, user=user)


def test_a_float_beyond_all_floats(attack: Attack) -> None:
    """an integer of 4,300 digits where a float is asked for"""
    user = attack.user()
    body = b'{"task_type":"weighs","input_data":{"weight":%s}}'
    attack.post(CREATE, body % LONG, 400, user=user)
    attack.post(CREATE, body % b"1e309", 400, user=user)
    attack.post("/api/tasks/bulk/", b'{"tasks":[%s]}' % (body % LONG), 400, user=user)


def test_results_of_many_digits(attack: Attack) -> None:
    """a result of 8,600 digits: the task ends in error, nothing sticks"""
    user = attack.user()
    body = b'{"task_type":"squares","input_data":{"number":%s}}'
    for number, status in ((b"9" * 2000, "completed"), (LONG, "error"), (b"-" + LONG[1:], "error")):
        task_id = attack.post(CREATE, body % number, 201, user=user).json()["id"]
        assert user.wait(task_id)["status"] == status
        attack.settled(user)
        attack.get(f"/api/tasks/{task_id}/", 200, user=user)
        attack.get("/api/tasks/", 200, user=user)


def test_a_million_numbers(attack: Attack) -> None:
    """1,000,000 numbers: 413"""
    attack.post(CREATE, SUM % (b"[" + b"1," * 999_999 + b"1]"), 413, user=attack.user())


def test_nesting(attack: Attack) -> None:
    """nesting 100,000 deep, and 65 deep"""
    user = attack.user()
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (100_000 if opened == b"[" else 40_000, 1000, 65):
            for value in (opened * depth + b"1" + closed * depth, opened * depth):
                attack.post(CREATE, value, 400, user=user)
                attack.post(CREATE, SUM % value, 400, user=user)
                long = len(value) > 16 * 1024
                attack.post("/api/register/", value, 413 if long else 400)


def test_characters(attack: Attack) -> None:
    """U+0000 and lone surrogates in any string or key"""
    user = attack.user()
    canary = attack.canary()
    for character in (b"\\u0000", b"\\ud800", b"\\uDFFF", b"\\ude00\\ud83d", b"\\udbff\\u0041"):
        text = b'"%s%s"' % (canary.encode(), character)
        for body in (
            b'{"task_type":%s,"input_data":{}}' % text,
            b'{"task_type":"sum","input_data":%s}' % text,
            SUM % text,
            SUM % (b"[%s]" % text),
            b'{"task_type":"repeats","input_data":{"text":%s}}' % text,
            b'{"task_type":"repeats","input_data":{"text":"a","notes":{"a":[{"b":%s}]}}}' % text,
            b'{"task_type":"repeats","input_data":{"text":"a","notes":{%s:1}}}' % text,
            b'{"task_type":"sum","input_data":{"numbers":[1]},"tags":[%s]}' % text,
            b'{"task_type":"sum","input_data":{"numbers":[1]},"priority":%s}' % text,
            b'{"task_type":"sum","input_data":{"numbers":[1]},"run_at":%s}' % text,
            b'{"task_type":"sum","input_data":{"numbers":[1]},%s:1}' % text,
            b"{%s:1}" % text,
            b"[%s]" % text,
            text,
        ):
            attack.post(CREATE, body, 400, user=user, hidden=canary)
            attack.post("/api/tasks/bulk/", b'{"tasks":[%s]}' % body, 400, user=user)
        for body in (
            b'{"username":%s,"password":"password123"}',
            b'{"username":"a","password":%s}',
        ):
            attack.post("/api/register/", body % text, 400, hidden=canary)
            attack.post("/api/token/", body % text, 400, hidden=canary)
        for path in ("/api/token/refresh/", "/api/token/blacklist/"):
            attack.post(path, b'{"refresh":%s}' % text, 400, hidden=canary)
        for field in (b"email", b"first_name", b"last_name"):
            body = b'{"%s":%s}' % (field, text)
            attack.send("PATCH", "/api/me/", 400, body=body, user=user, hidden=canary)
        for field in (b"old_password", b"new_password"):
            other = b"new_password" if field == b"old_password" else b"old_password"
            body = b'{"%s":%s,"%s":"password1234"}' % (field, text, other)
            attack.post("/api/me/password/", body, 400, user=user, hidden=canary)


def test_keys(attack: Attack) -> None:
    """duplicate and unknown keys, everywhere"""
    user = attack.user()
    for body in (
        b'{"task_type":"sum","task_type":"sum","input_data":{"numbers":[1]}}',
        b'{"task_type":"sum","input_data":{"numbers":[1],"numbers":[2]}}',
        b'{"task_type":"sum","task\\u005ftype":"sum","input_data":{"numbers":[1]}}',
        b'{"task_type":"sum","input_data":{"numbers":[1],"x":1}}',
        b'{"task_type":"sum","input_data":{"numbers":[1]},"x":1}',
        b'{"task_type":"sum","input_data":{"numbers":[1]},"":1}',
        b'{"task_type":"sum","input_data":{"numbers":[1]},"__class__":"x"}',
        b'{"Task_Type":"sum","input_data":{"numbers":[1]}}',
    ):
        attack.post(CREATE, body, 400, user=user)
        attack.post("/api/tasks/bulk/", b'{"tasks":[%s]}' % body, 400, user=user)
    attack.post("/api/tasks/bulk/", b'{"tasks":[],"tasks":[]}', 400, user=user)
    twice = b'{"username":"a","username":"b","password":"password123"}'
    for path in ("/api/register/", "/api/token/"):
        attack.post(path, twice, 400)


def test_task_type(attack: Attack) -> None:
    """task_type as list, object, null, 10 KB text: not echoed"""
    user = attack.user()
    canary = attack.canary()
    for task_type in (
        *(
            [canary],
            {canary: 1},
            None,
            True,
            1,
            1.5,
            "",
            canary * 500,
            f"{canary}\n",
            " sum",
            "SUM",
        ),
        *("sum\n", "../sum", "__class__", f"<img src=x onerror={canary}>", "сум", "%s%n{0}"),
    ):
        for body in ({"task_type": task_type, "input_data": {"numbers": [1]}},):
            attack.post(CREATE, body, 400, user=user, hidden=canary)
            attack.post("/api/tasks/bulk/", {"tasks": [body]}, 400, user=user, hidden=canary)


def test_seconds(attack: Attack) -> None:
    """seconds of 0, -1, 1.5, "5", true, 10^9"""
    user = attack.user()
    for seconds in (0, -1, 1.5, "5", True, None, [5], {}, 10**9, 3601, 2**63, 10**400, -(2**63)):
        body = {"task_type": "countdown", "input_data": {"seconds": seconds}}
        attack.post(CREATE, body, 400, user=user)


def test_forms_of_bodies(attack: Attack) -> None:
    """bodies that are no object, no JSON, no UTF-8, or empty: 400"""
    user = attack.user()
    good = SUM % b"[1]"
    for body in (
        *(
            b"[1]",
            b'"x"',
            b"null",
            b"",
            b" ",
            b"1",
            b"true",
            b"{",
            b"}",
            b"[",
            b"{}",
            b"nul",
            b"'a'",
        ),
        *(
            b"\xef\xbb\xbf" + good,
            b"\xff\xfe" + good,
            good.decode().encode("utf-16"),
            b"\x80",
            b"\0",
        ),
        *(good + b"x", good + good, good + b"\0", b"<x/>", b"a=1", good.replace(b"sum", b"\xff")),
        *(
            good.replace(b"sum", b"a\nb"),
            b"// x\n" + good,
            good.replace(b'"', b"'"),
            b"\xed\xa0\x80",
        ),
    ):
        for path in (CREATE, "/api/tasks/", "/api/tasks/bulk/"):
            attack.post(path, body, 400, user=user)
        for path in ("/api/register/", "/api/token/", "/api/token/refresh/"):
            attack.post(path, body, 400)


def test_media_types(attack: Attack) -> None:
    """other charsets, compressed bodies, XML, forms: 415"""
    user = attack.user()
    good = SUM % b"[1]"
    for media_type in (
        *("application/xml", "text/xml", "text/plain", "application/x-www-form-urlencoded"),
        *("multipart/form-data; boundary=x", "text/html", "application/msgpack", "x", "", ";", "/"),
        *("application/json; charset=utf-16", "application/json; charset=latin-1"),
        *('application/json; charset="cp1251"', "application/json; charset=utf-7"),
        *("application/json; charset=\\", "application/problem+json", "application/" + "x" * 3000),
    ):
        attack.post(CREATE, good, 415, user=user, headers={"Content-Type": media_type})
        attack.post("/api/tasks/bulk/", good, 415, user=user, headers={"Content-Type": media_type})
        wrong = 400 if "form" in media_type else 415  # forms are for accounts
        for path in ("/api/register/", "/api/token/"):
            attack.post(path, good, wrong, headers={"Content-Type": media_type})
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, identity", "x"):
        body = gzip.compress(good)
        attack.post(CREATE, body, 415, user=user, headers={"Content-Encoding": encoding})


def test_sizes(attack: Attack, hostile: Live) -> None:
    """bodies over the limit, declared or chunked: 413"""
    user = attack.user()
    before = attack.books.state()
    token = user.http.headers["Authorization"].encode()
    for path, size in (
        (CREATE, LIMIT + 1),
        ("/api/tasks/", 2 * LIMIT),
        ("/api/token/refresh/", 16 * 1024 + 1),
        ("/api/tasks/bulk/", 8 * 1024 * 1024 + 1),
        ("/api/register/", 16 * 1024 + 1),
    ):
        attack.post(path, b" " * size, 413, user=user)
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n" % (
            path.encode(),
            token,
        )
        head += b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = [b"10000\r\n" + b" " * 0x10000 + b"\r\n"] * (size // 0x10000 + 1)
        attack.judge(raw(hostile, head, *chunks, b"0\r\n\r\n"), 413, f"chunked {path}")
        # Refused for its declared size before it is sent.
        declared = head.replace(b"Transfer-Encoding: chunked", b"Content-Length: %d" % 10**12)
        attack.judge(raw(hostile, declared), 413, f"declared {path}")
    assert attack.books.state() == before


def test_a_large_body_of_small_flaws(attack: Attack) -> None:
    """8 MiB of mistakes make a bounded answer"""
    user = attack.user()
    tasks: list[Any] = [{"task_type": secrets.token_hex(4000)}] * 1000
    answer = attack.post("/api/tasks/bulk/", {"tasks": tasks}, 400, user=user)
    assert len(answer.content) < 64 * 1024
    wide = {"task_type": "sum", "input_data": {f"k{n}": n for n in range(10_000)}}
    answer = attack.post(CREATE, json.dumps(wide).encode(), 400, user=user)
    assert len(answer.content) < 64 * 1024
    attack.note(f"largest answer {len(answer.content):,} bytes")
