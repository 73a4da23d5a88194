"""The rules of the fair order, without a database."""

from collections.abc import Iterable
from typing import Any

from taskyard.core.fair_order import Order, floor_of


def order(waiting: Iterable[Any], **given: dict[Any, float]) -> Order:
    return Order(waiting, **{"counted": {}, "running": {}, "weights": {}, **given})


def turns(of: Order, many: int, seconds: dict[Any, float] | None = None) -> str:
    """The owners of the next claims, of one task each that runs a second, or as given."""
    taken = ""
    for _ in range(many):
        (owner,) = of.take(1)
        of.put_back(owner, (seconds or {}).get(owner, 1.0))
        taken += owner
    return taken


def test_owners_alternate() -> None:
    assert turns(order("ab"), 6) == "ababab"


def test_by_seconds_not_by_tasks() -> None:
    assert turns(order("ab"), 6, {"b": 2.0}) == "ababaa"


def test_who_has_used_more_waits_until_others_have_caught_up() -> None:
    assert turns(order("ab", counted={"a": 2.5, "b": 0.0}), 6) == "bbbaba"


def test_who_comes_begins_where_the_one_is_who_has_used_least() -> None:
    assert turns(order("abc", counted={"a": 9.0, "b": 7.5}), 5) == "bcbca"


def test_what_runs_counts_already() -> None:
    assert turns(order("ab", running={"a": 2.5}), 4) == "bbba"


def test_a_weight_of_two_gives_two_seconds_for_one() -> None:
    assert turns(order("ab", weights={"b": 2.0}), 6) == "abbabb"
    assert turns(order("ab", running={"b": 4.0}, weights={"b": 4.0}), 3) == "aba"


def test_several_are_taken_in_their_order_and_put_back_or_not() -> None:
    three = order("abcd")
    assert three.take(3) == ["a", "b", "c"]
    three.put_back("b", 0.5)
    three.put_back("c", 0.0)
    assert three.take(9) == ["d", "c", "b"]
    assert not three


def test_the_system_tasks_are_taken_alone() -> None:
    with_system = order(["a", None, "b"])
    assert [with_system.take(9) for _ in range(4)] == [["a"], [None], ["b"], []]


def test_the_floor_is_the_least_of_those_who_were_served() -> None:
    used = {"a": 9.0, "b": 7.0, "never served": 0.0}
    assert floor_of(used, "ab", before=None) == 7.0
    assert floor_of(used, ["b", "gone"], before=3.0) == 7.0


def test_the_floor_never_goes_back_and_stays_without_a_service() -> None:
    assert floor_of({"a": 9.0, "b": 4.0}, "ab", before=5.0) == 5.0
    assert floor_of({"a": 9.0}, "", before=5.0) == 5.0
    assert floor_of({"a": 9.0, "b": 4.0}, "", before=None) == 4.0
    assert floor_of({}, "", before=None) == 0.0
