"""Listing tasks: pages, filters, order."""

from collections.abc import Callable
from typing import Any

import pytest

from taskyard.accounts.models import User
from taskyard.core import lifecycle
from taskyard.core.values import NewTask
from tests.api.caller import Caller

pytestmark = pytest.mark.usefixtures("many_allowed")


@pytest.fixture
def many_allowed(settings: Any) -> None:
    settings.TASKYARD_ACTIVE_LIMIT = 1000


@pytest.fixture
def ids(user: User) -> list[int]:
    """25 tasks, every fifth a countdown, every third tagged."""
    new = [
        NewTask(
            task_type="sum" if n % 5 else "countdown",
            queue="default",
            input_data={"numbers": [n]} if n % 5 else {"seconds": 5},
            tags=("third", f"n{n}") if n % 3 == 0 else (),
        )
        for n in range(25)
    ]
    return lifecycle.submit_all(user.pk, new)


def found(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [task["id"] for task in answer.json()["results"]]


def test_a_list_has_ten_a_page_by_ascending_id(api: Caller, ids: list[int]) -> None:
    first = api.get("tasks/")
    assert found(first) == ids[:10]
    assert first.json()["count"] == 25
    assert first.json()["previous"] is None
    second = api.get(first.json()["next"].removeprefix("http://testserver/api/"))
    assert found(second) == ids[10:20]
    assert second.json()["previous"] == "http://testserver/api/tasks/"
    third = api.get(second.json()["next"].removeprefix("http://testserver/api/"))
    assert found(third) == ids[20:]
    assert third.json()["next"] is None
    assert third.json()["previous"] == "http://testserver/api/tasks/?page=2"


def test_neighbouring_pages_keep_the_other_parameters(api: Caller, ids: list[int]) -> None:
    page = api.get("tasks/?status=pending&status=error&page=2&page_size=5&ordering=-id").json()
    for address in (page["next"], page["previous"]):
        assert "status=pending&status=error" in address
        assert "page_size=5" in address
        assert "ordering=-id" in address


def test_the_first_page_of_an_empty_list_is_there_and_the_second_is_not(api: Caller) -> None:
    empty = api.get("tasks/?page=1")
    assert empty.json() == {"count": 0, "next": None, "previous": None, "results": []}
    missing = api.get("tasks/?page=2")
    assert missing.status_code == 404
    assert missing.json() == {"detail": "Не найдено.", "code": "not_found"}


def test_a_page_beyond_the_last_is_404(api: Caller, ids: list[int]) -> None:
    assert api.get("tasks/?page=3").status_code == 200
    assert api.get("tasks/?page=4").status_code == 404
    assert api.get(f"tasks/?page={2**63 - 1}").status_code == 404


def test_after_walks_the_list_without_counting(api: Caller, ids: list[int]) -> None:
    seen: list[int] = []
    address = "tasks/?after=0&page_size=10"
    while address:
        answer = api.get(address)
        assert answer.json()["count"] is None
        assert answer.json()["previous"] is None
        seen += found(answer)
        address = (answer.json()["next"] or "").removeprefix("http://testserver/api/")
    assert seen == ids


def test_after_walks_backwards_too(api: Caller, ids: list[int]) -> None:
    answer = api.get(f"tasks/?after={ids[5]}&ordering=-id&page_size=3")
    assert found(answer) == [ids[4], ids[3], ids[2]]


def test_filters_narrow_the_list(api: Caller, ids: list[int]) -> None:
    assert found(api.get("tasks/?task_type=countdown")) == ids[::5]
    assert found(api.get("tasks/?tag=third&page_size=100")) == ids[::3]
    assert found(api.get("tasks/?tag=n3")) == [ids[3]]
    assert found(api.get("tasks/?tag=n")) == []
    assert found(api.get("tasks/?tag=%25")) == []
    assert found(api.get("tasks/?tag=third&task_type=countdown")) == [ids[0], ids[15]]
    assert found(api.get("tasks/?status=completed")) == []
    assert len(found(api.get("tasks/?status=completed&status=pending"))) == 10


def test_times_narrow_the_list_at_and_around_them(api: Caller, ids: list[int]) -> None:
    assert found(api.get("tasks/?created_after=2000-01-01T00:00:00%2B03:00"))
    assert found(api.get("tasks/?created_after=2000-01-01T00:00:00+03:00"))
    assert found(api.get("tasks/?created_after=2999-01-01T00:00:00Z")) == []
    assert found(api.get("tasks/?created_before=2000-01-01T00:00:00Z")) == []
    at = api.get(f"tasks/{ids[0]}").json()["created_at"]
    assert ids[0] in found(api.get(f"tasks/?created_after={at}&page_size=100"))


@pytest.mark.parametrize("ordering", ["created_at", "finished_at", "id"])
def test_ties_are_broken_by_id(api: Caller, ids: list[int], ordering: str) -> None:
    assert found(api.get(f"tasks/?ordering={ordering}&page_size=100")) == ids
    assert found(api.get(f"tasks/?ordering=-{ordering}&page_size=100")) == ids[::-1]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        *((f"page={value}", "page") for value in ("0", "-1", "abc", "1" * 21, "1.0", "", "%00")),
        *((f"page_size={v}", "page_size") for v in ("0", "-1", "abc", "101", "1" * 21, "", "%00")),
        *((f"after={value}", "after") for value in ("-1", "abc", "1" * 21, "", "%00")),
        *((f"status={value}", "status") for value in ("", "done", "PENDING", "%00")),
        *((f"task_type={value}", "task_type") for value in ("", "nope", "%00", "x" * 5000)),
        *((f"tag={value}", "tag") for value in ("", "%00", "x" * 51)),
        *((f"created_after={v}", "created_after") for v in ("", "x", "2020-01-01", "1", "%00",
          "2020-01-01T00:00:00", "0001-01-01T00:00:00%2B14:00")),
        ("created_before=2020-01-01T00:00:00", "created_before"),
        *((f"ordering={value}", "ordering") for value in ("", "owner", "-", "id,status", "--id")),
        ("page=1&page=1", "page"), ("tag=a&tag=b", "tag"), ("nope=1", "nope"),
        ("format=json", "format"),
        ("owner=1", "owner"), ("status__in=x", "status__in"), ("after=1&page=1", "after"),
        ("after=1&ordering=created_at", "ordering"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_refused_at_its_name(api: Caller, query: str, parameter: str) -> None:
    refused = api.get(f"tasks/?{query}")
    assert refused.status_code == 400, refused.content
    assert list(refused.json()) == [parameter]
    assert isinstance(refused.json()[parameter], list)


def test_odd_bytes_in_an_address_are_no_fault_of_ours(api: Caller) -> None:
    for query in ("%00=1", "%ff=%fe", "tag=%ff", "tag=%ed%a0%80", "&&==", "a=" * 500):
        assert api.get(f"tasks/?{query}").status_code in (200, 400)


def test_another_users_tasks_are_not_listed(
    new_user: Callable[..., User], as_user: Callable[[User], Caller], ids: list[int]
) -> None:
    assert found(as_user(new_user("other")).get("tasks/")) == []
