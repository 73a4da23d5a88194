"""The parts of the client that do not use the network."""

import inspect
import ssl
from pathlib import Path

import pytest

from taskyard import client
from taskyard.client import AsyncClient, Client, NewTask
from taskyard.client.commands import fields
from taskyard.client.commands.fields import BadField
from taskyard.client.commands.session import place
from taskyard.client.encoding import chunks
from taskyard.client.errors import FieldError, error_of
from taskyard.client.events import ServerSentEvent, SSEDecoder
from taskyard.client.i18n import language
from taskyard.client.retry import RetryBudget
from taskyard.client.ssl_context import create_ssl_context
from tools import unasync


@pytest.mark.parametrize("source", unasync.FACES, ids=lambda path: path.name)
def test_the_synchronous_face_is_the_asynchronous_one_without_waiting(source: Path) -> None:
    written = unasync.FACES[source].read_text()
    assert written == unasync.made(source), "run python tools/unasync.py"
    assert "async" not in written.partition("\n")[2].replace("async_wire", "")


def test_without_tls_no_certificate_is_believed() -> None:
    assert create_ssl_context("https://tasks.example.org") is True
    assert create_ssl_context("HTTPS://tasks.example.org") is True
    bare = create_ssl_context("http://127.0.0.1:8000")
    assert isinstance(bare, ssl.SSLContext)
    assert (bare.verify_mode, bare.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert bare.get_ca_certs() == []


def test_both_faces_have_the_same_methods_with_the_same_arguments() -> None:
    sync, other = (
        {
            name.replace("aclose", "close"): member
            for name, member in vars(face).items()
            if not name.startswith("_")
        }
        for face in (Client, AsyncClient)
    )
    assert set(sync) == set(other)
    assert {"submit", "submit_many", "get", "list", "wait", "stream", "cancel"} <= set(sync)
    assert {"retry", "logs", "attempts", "types", "me", "login"} <= set(sync)
    for name, member in sync.items():
        ours, theirs = (inspect.signature(each).parameters for each in (member, other[name]))
        assert ours == theirs, name
        assert member.__doc__ == other[name].__doc__
    assert inspect.signature(Client) == inspect.signature(AsyncClient)


def test_every_public_name_is_there() -> None:
    for name in client.__all__:
        assert getattr(client, name).__name__ == name
    with pytest.raises(AttributeError):
        client.__getattr__("nonsense")


STREAM = (
    ': hello\nretry: 1500\nevent: task\nid: 7\ndata: {"a":\u2028"б"}\n\n'
    "id: 8\n\n:\n\nevent: task\nid: 9\ndata: one\ndata: two\n\nid: 10\ndata: cut"
).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(STREAM)])
def test_events_are_read_however_the_bytes_come(size: int) -> None:
    reader = SSEDecoder()
    told = [
        each
        for start in range(0, len(STREAM), size)
        for each in reader.feed(STREAM[start : start + size])
    ]
    assert told == [ServerSentEvent("7", '{"a":\u2028"б"}'), ServerSentEvent("9", "one\ntwo")]
    assert reader.last_id == "9"
    assert reader.retry_seconds == 1.5
    reader.restart()
    assert [*reader.feed(b"id: 10\ndata: whole\n\n")] == [ServerSentEvent("10", "whole")]


def test_patience_grows_and_ends() -> None:
    retry_budget = RetryBudget(30)
    pauses = [retry_budget.pause() for _ in range(6)]
    assert all(pause is not None and pause <= 5 for pause in pauses)
    assert (pauses[0] or 9) < 0.21
    assert (pauses[5] or 0) > 2
    assert retry_budget.pause(3) == 3
    assert retry_budget.pause(31) is None  # longer than the client waits
    assert RetryBudget(0).pause() is None


def test_what_is_no_problem_document_is_an_error_all_the_same() -> None:
    for body in (b"<html>", b"", b"[]", b'{"detail": {}}', b"\xff"):
        error = error_of(502, {"Retry-After": "soon"}, body)
        assert isinstance(error, client.Unavailable)
        assert (error.code, error.retry_after) == ("unknown", None)


def test_chunks_are_bounded_in_number_and_bytes_and_always_the_same() -> None:
    small = [NewTask("sum", {"numbers": [n]}) for n in range(2500)]
    assert [(first, len(group)) for first, group in chunks(small, 1000)] == [
        (0, 1000), (1000, 1000), (2000, 500),
    ]  # fmt: skip
    large = [{"task_type": "sum", "input_data": {"text": "я" * 100_000}}] * 100
    groups = [*chunks(large, 1000)]
    assert all(sum(map(len, group)) < 8 * 1024 * 1024 for _, group in groups)
    assert sum(len(group) for _, group in groups) == 100
    assert [*chunks(large, 1000)] == groups
    assert [*chunks([], 1000)] == []


def test_places_count_the_tasks_of_all_chunks() -> None:
    error = client.InvalidRequest(400, "invalid", "", [FieldError("/tasks/7/tags/0", "x", "")])
    error.count_from(2000)
    assert error.errors[0].pointer == "/tasks/2007/tags/0"


def test_a_place_is_written_as_people_write_it() -> None:
    assert place(FieldError("/input_data/a~1b/2", "", "").steps) == "input_data.a/b[2]"
    assert place(["line 7", "input_data", "numbers", "0"]) == "line 7: input_data.numbers[0]"


def test_fields_are_texts_and_json_and_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text('{"from": "file", "n": 0}')
    words = ["text=a=b", "n:=1", "list:=[1, 2]", "empty=", f"whole=@{file}", f"parsed:=@{file}"]
    assert fields.read(words, str(file)) == {
        "from": "file",
        "text": "a=b",
        "n": 1,
        "list": [1, 2],
        "empty": "",
        "whole": file.read_text(),
        "parsed": {"from": "file", "n": 0},
    }


@pytest.mark.parametrize("word", ["a", "=1", "a:=", "a:={", "a:=NaN", "a=@/no/such/file", ":=1"])
def test_what_is_no_field_is_refused(word: str) -> None:
    with pytest.raises(BadField):
        fields.read([word], None)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "ru_RU.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_MESSAGES": "ru"}, "ru"),
        ({}, "en"),
    ],
)
def test_the_language_is_that_of_the_locale(
    variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    language.cache_clear()
    try:
        assert language() == wanted
    finally:
        language.cache_clear()
