"""The page of the audit log: filters, pages, and the download of JSON lines."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncRequestFactory, Client

from taskyard.accounts.models import User
from taskyard.core.models import AuditEntry
from taskyard.web.staff import audit_texts
from taskyard.web.staff.views import audit
from tests.web.staff.conftest import browser_of

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def day(db: None) -> None:
    """An entry each hour of a day: ann signs in, then bob fails to."""
    AuditEntry.objects.bulk_create(
        AuditEntry(
            at=NOON + timedelta(hours=number),
            by_name=("ann", "bob<b>")[number % 2],
            action=("log_in", "log_in_failed")[number % 2],
            address="203.0.113.7",
        )
        for number in range(24)
    )


def found(page: Client, query: str) -> int:
    answer = page.get(f"/staff/audit/?{query}")
    assert answer.status_code == 200
    return len(answer.context["lines"])


def test_its_fields_narrow(page: Client, day: None) -> None:
    assert found(page, "") == 24
    assert found(page, "who=ann") == 12
    assert found(page, "who=nobody") == 0
    assert found(page, "action=log_in_failed") == 12
    assert found(page, "who=ann&action=log_in_failed") == 0
    assert found(page, "since=2026-11-28+20:00&until=2026-11-28T22:00Z") == 2
    assert found(page, "since=2026-11-29&until=") == 12
    text = page.get("/staff/audit/?who=bob%3Cb%3E").text
    assert "bob&lt;b&gt;" in text
    assert "bob<b>" not in text
    assert "failed to sign in" in text
    assert "203.0.113.7" in text


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=x", "since"),
        ("until=2026-13-01", "until"),
        ("since=" + "1" * 99, "since"),
        ("since=0001-01-01T00:00%2B10:00", "since"),
        ("action=nothing", "action"),
        ("who=" + "x" * 999, "who"),
    ],
)
def test_what_cannot_be_asked_is_said_at_its_field(page: Client, query: str, field: str) -> None:
    answer = page.get(f"/staff/audit/?{query}")
    assert answer.status_code == 400
    assert f'id="id_{field}-errors"' in answer.text
    assert page.get(f"/staff/audit/export/?{query}").status_code == 400


def test_its_pages_keep_the_search(
    page: Client, day: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE_SIZE", 5)
    seen: list[int] = []
    query = "who=ann"
    while True:
        answer = page.get(f"/staff/audit/?{query}")
        seen += [line.pk for line, _, _ in answer.context["lines"]]
        older = answer.context["older"]
        if older is None:
            break
        query = f"who=ann&before={older}"
        assert f"?{query.replace('&', '&amp;')}" in answer.text
    assert len(set(seen)) == len(seen) == 12


def test_a_failed_log_in_says_how_many_are_left_out(page: Client) -> None:
    AuditEntry.objects.create(action="log_in_failed", by_name="ann", details={"left_out": 7})
    assert "and 7 more before" in page.get("/staff/audit/").text


def test_each_action_of_the_code_has_a_text() -> None:
    assert {"register", "log_in", "log_in_failed", "change_password", "set_password",
            "change_role", "suspend_user", "restore_user"} <= set(audit_texts.ACTIONS)  # fmt: skip


def test_what_is_found_is_downloaded(page: Client, day: None) -> None:
    text = page.get("/staff/audit/?who=ann").text
    assert 'href="/staff/audit/export/?who=ann"' in text
    answer = page.get("/staff/audit/export/?who=ann")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert "attachment" in answer.headers["Content-Disposition"]
    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert {line["by_name"] for line in lines} == {"ann"}
    assert len(lines) == 12
    head: Any = page.head("/staff/audit/export/")
    assert (head.status_code, head.content) == (200, b"")
    empty = page.get("/staff/audit/export/?who=nobody")
    assert b"".join(empty.streaming_content) == b""


def test_under_asgi_the_download_is_in_pieces_too(boss: User, day: None) -> None:
    request = AsyncRequestFactory().get("/staff/audit/export/")
    assert isinstance(request, ASGIRequest)
    request.user = boss
    answer: Any = audit.export(request)
    assert answer.is_async


def test_only_operators_download(owner: User, new_user: Callable[..., User]) -> None:
    assert browser_of(owner).get("/staff/audit/export/").status_code == 404
