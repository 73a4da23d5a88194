"""Listing tasks: pages, filters, order."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser as User

from taskyard.core import lifecycle
from taskyard.core.types import NewTask
from tests.api_client import NOT_FOUND, SITE, ApiClient
from tests.configured import configure
from tests.fake_worker import FakeWorker

pytestmark = pytest.mark.usefixtures("many_allowed")


@pytest.fixture
def many_allowed(settings: Any) -> None:
    configure(settings, ACTIVE_LIMIT=1000)


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


@pytest.mark.parametrize(
    "query",
    [
        "",
        "status=pending",
        "task_type=sum",
        "tag=third",
        "ordering=-id",
        "after=0",
        "page_size=100",
    ],
)
def test_nobody_lists_the_tasks_of_another(
    api: ApiClient, other: ApiClient, ids: list[int], query: str
) -> None:
    own = other.create(tags=["third"]).json()["id"]
    assert found(other.get(f"tasks/?{query}")) == [own]
    assert own not in found(api.get(f"tasks/?{query}"))
    assert other.get("limits/").json()["tasks"] == [own]


def test_a_list_has_ten_a_page_by_ascending_id(api: ApiClient, ids: list[int]) -> None:
    first = api.get("tasks/")
    assert found(first) == ids[:10]
    assert first.json()["count"] == 25
    assert first.json()["previous"] is None
    second = api.get(first.json()["next"].removeprefix(SITE))
    assert found(second) == ids[10:20]
    assert second.json()["previous"] == f"{SITE}tasks/"
    third = api.get(second.json()["next"].removeprefix(SITE))
    assert found(third) == ids[20:]
    assert third.json()["next"] is None
    assert third.json()["previous"] == f"{SITE}tasks/?page=2"


def test_neighbouring_pages_keep_the_other_parameters(api: ApiClient, ids: list[int]) -> None:
    page = api.get("tasks/?status=pending&status=error&page=2&page_size=5&ordering=-id").json()
    for address in (page["next"], page["previous"]):
        assert "status=pending&status=error" in address
        assert "page_size=5" in address
        assert "ordering=-id" in address


def test_the_first_page_of_an_empty_list_is_there_and_the_second_is_not(api: ApiClient) -> None:
    empty = api.get("tasks/?page=1")
    assert empty.json() == {"count": 0, "next": None, "previous": None, "results": []}
    missing = api.get("tasks/?page=2")
    assert missing.status_code == 404
    assert missing.json() == {"detail": NOT_FOUND, "code": "not_found"}


def test_a_page_beyond_the_last_is_404(api: ApiClient, ids: list[int]) -> None:
    assert api.get("tasks/?page=3").status_code == 200
    assert api.get("tasks/?page=4").status_code == 404
    assert api.get(f"tasks/?page={2**63 - 1}").status_code == 404


def test_after_walks_the_list_without_counting(api: ApiClient, ids: list[int]) -> None:
    seen: list[int] = []
    address = "tasks/?after=0&page_size=10"
    while address:
        answer = api.get(address)
        assert answer.json()["count"] is None
        assert answer.json()["previous"] is None
        seen += found(answer)
        address = (answer.json()["next"] or "").removeprefix(SITE)
    assert seen == ids


def test_after_walks_backwards_too(api: ApiClient, ids: list[int]) -> None:
    answer = api.get(f"tasks/?after={ids[5]}&ordering=-id&page_size=3")
    assert found(answer) == [ids[4], ids[3], ids[2]]


def test_filters_narrow_the_list(api: ApiClient, ids: list[int]) -> None:
    assert found(api.get("tasks/?task_type=countdown")) == ids[::5]
    assert found(api.get("tasks/?tag=third&page_size=100")) == ids[::3]
    assert found(api.get("tasks/?tag=n3")) == [ids[3]]
    assert found(api.get("tasks/?tag=n")) == []
    assert found(api.get("tasks/?tag=%25")) == []
    assert found(api.get("tasks/?tag=third&task_type=countdown")) == [ids[0], ids[15]]
    assert found(api.get("tasks/?status=completed")) == []
    assert len(found(api.get("tasks/?status=completed&status=pending"))) == 10


def test_times_narrow_the_list_at_and_around_them(api: ApiClient, ids: list[int]) -> None:
    assert found(api.get("tasks/?created_after=2000-01-01T00:00:00%2B03:00"))
    assert found(api.get("tasks/?created_after=2000-01-01T00:00:00+03:00"))
    assert found(api.get("tasks/?created_after=2999-01-01T00:00:00Z")) == []
    assert found(api.get("tasks/?created_before=2000-01-01T00:00:00Z")) == []
    at = api.get(f"tasks/{ids[0]}").json()["created_at"]
    assert ids[0] in found(api.get(f"tasks/?created_after={at}&page_size=100"))


@pytest.mark.parametrize("ordering", ["created_at", "finished_at", "id"])
def test_ties_are_broken_by_id(api: ApiClient, ids: list[int], ordering: str) -> None:
    assert found(api.get(f"tasks/?ordering={ordering}&page_size=100")) == ids
    assert found(api.get(f"tasks/?ordering=-{ordering}&page_size=100")) == ids[::-1]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        *((f"page={value}", "page") for value in ("0", "-1", "abc", "1" * 21, "1.0", "%20", "%00")),
        *((f"page_size={v}", "page_size") for v in ("0", "-1", "abc", "101", "1" * 21, "%00")),
        *((f"limit={v}", "limit") for v in ("0", "-1", "abc", "101", "1" * 21, "%00")),
        *((f"offset={v}", "offset") for v in ("-1", "abc", "1" * 21, "last", "%00")),
        *((f"after={value}", "after") for value in ("-1", "abc", "1" * 21, "%00")),
        *((f"status={v}", "status") for v in ("done", "PENDING", "%00", "pending,done", "a,b")),
        *((f"task_type={value}", "task_type") for value in ("nope", "%00", "x" * 5000)),
        *((f"tag={value}", "tag") for value in ("%00", "x" * 51)),
        *((f"created_after={v}", "created_after") for v in ("x", "2020-01-01", "1", "%00",
          "2020-01-01T00:00:00", "0001-01-01T00:00:00%2B14:00")),
        ("created_before=2020-01-01T00:00:00", "created_before"),
        *((f"ordering={value}", "ordering") for value in ("owner", "-", "id,status", "--id")),
        ("page=1&page=1", "page"), ("tag=a&tag=b", "tag"), ("nope=1", "nope"),
        *((f"format={value}", "format") for value in ("xml", "api", "JSON", "%00")),
        ("format=json&format=json", "format"), ("nope=", "nope"), ("limit=1&page_size=1", "limit"),
        ("offset=1&page=1", "offset"), ("offset=1&after=1", "offset"),
        ("page=last&after=1", "after"), ("page=LAST", "page"),
        ("owner=1", "owner"), ("status__in=x", "status__in"), ("after=1&page=1", "after"),
        ("after=1&ordering=created_at", "ordering"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_refused_at_its_name(api: ApiClient, query: str, parameter: str) -> None:
    refused = api.get(f"tasks/?{query}")
    assert refused.status_code == 400, refused.content
    assert list(refused.json()) == [parameter]
    assert isinstance(refused.json()[parameter], list)


def test_all_that_is_wrong_is_said_at_once(api: ApiClient) -> None:
    refused = api.get("tasks/?nope=1&page=0&tag=%00&page_size=x&format=xml&status=done&tag=a")
    assert set(refused.json()) == {"nope", "page", "tag", "page_size", "format", "status"}


@pytest.mark.parametrize(
    "query",
    [
        *("_=1764243563", "_=", "_=1&_=2", "_=%00", "format=json", "format="),
        *("page=", "page_size=", "after=", "limit=", "offset=", "status=", "task_type=", "tag="),
        *("created_after=", "created_before=", "ordering=", "status=&status=", "status=,"),
        "page=&page_size=&after=&limit=&offset=&status=&task_type=&tag=&ordering=&_=1&format=json",
    ],
)
def test_what_says_nothing_changes_nothing(api: ApiClient, ids: list[int], query: str) -> None:
    answer = api.get(f"tasks/?{query}")
    assert found(answer) == ids[:10]
    assert answer.json()["count"] == 25
    assert found(api.get(answer.json()["next"].removeprefix(SITE))) == ids[10:20]


def test_an_empty_value_beside_a_real_one_says_nothing(api: ApiClient, ids: list[int]) -> None:
    assert found(api.get("tasks/?page=&page=3&status=&status=pending")) == ids[20:]


def test_statuses_come_as_a_list_too(
    api: ApiClient, ids: list[int], fake_worker: FakeWorker
) -> None:
    for task_id in ids[:4]:
        api.post(f"tasks/{task_id}/cancel/")
    assert found(api.get("tasks/?status=cancelled,completed")) == ids[:4]
    assert found(api.get("tasks/?status=cancelled,&status=completed")) == ids[:4]
    both = api.get("tasks/?status=pending,%20cancelled&page=2")
    assert found(both) == ids[10:20]
    assert both.json()["count"] == 25
    for address in (both.json()["next"], both.json()["previous"]):
        assert len(found(api.get(address.removeprefix(SITE))))


def test_the_last_page_has_a_name(api: ApiClient, ids: list[int]) -> None:
    last = api.get("tasks/?page=last")
    assert found(last) == ids[20:]
    assert last.json()["next"] is None
    assert last.json()["previous"] == f"{SITE}tasks/?page=2"
    only = api.get("tasks/?page=last&page_size=100").json()
    assert (only["next"], only["previous"]) == (None, None)
    assert found(api.get("tasks/?page=last&limit=20")) == ids[20:]
    assert found(api.get("tasks/?page=last&status=error")) == []


def test_limit_and_offset_walk_the_list(api: ApiClient, ids: list[int]) -> None:
    seen: list[list[int]] = []
    address = "tasks/?limit=10&status=pending,error"
    while address:
        answer = api.get(address)
        assert answer.json()["count"] == 25
        seen.append(found(answer))
        back = answer.json()["previous"]
        address = (answer.json()["next"] or "").removeprefix(SITE)
    assert seen == [ids[:10], ids[10:20], ids[20:]]
    while back:
        answer = api.get(back.removeprefix(SITE))
        assert found(answer) == seen[-2]
        seen.pop()
        back = answer.json()["previous"]
    assert len(seen) == 1


def test_an_offset_need_not_be_a_whole_page(api: ApiClient, ids: list[int]) -> None:
    page = api.get("tasks/?limit=4&offset=3")
    assert found(page) == ids[3:7]
    assert page.json()["next"] == f"{SITE}tasks/?limit=4&offset=7"
    assert page.json()["previous"] == f"{SITE}tasks/?limit=4"
    assert found(api.get("tasks/?offset=20")) == ids[20:]
    assert found(api.get("tasks/?offset=3&page_size=2")) == ids[3:5]
    assert found(api.get("tasks/?page=2&limit=4")) == ids[4:8]
    assert found(api.get(f"tasks/?after={ids[3]}&limit=4")) == ids[4:8]
    for offset in (25, 26, 2**63 - 1):
        beyond = api.get(f"tasks/?limit=4&offset={offset}").json()
        assert (beyond["results"], beyond["next"], beyond["count"]) == ([], None, 25)


def test_odd_bytes_in_an_address_are_no_fault_of_ours(api: ApiClient) -> None:
    for query in ("%00=1", "%ff=%fe", "tag=%ff", "tag=%ed%a0%80", "&&==", "a=" * 500):
        assert api.get(f"tasks/?{query}").status_code in (200, 400)


def test_another_users_tasks_are_not_listed(
    new_user: Callable[..., User], as_user: Callable[[User], ApiClient], ids: list[int]
) -> None:
    assert found(as_user(new_user("other")).get("tasks/")) == []
