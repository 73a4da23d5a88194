"""The requests of the user's own description work exactly as they are written there."""

import json
import re

import pytest

from tests.contract.client import PASSWORD, User
from tests.live_system import Live

pytestmark = pytest.mark.servers
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SEED_FIELDS = ("id", "task_type", "input_data", "status", "result", "created_at")


def test_the_whole_road_of_the_seed(live: Live) -> None:
    user = User(live.url, "newuser", "none yet", "")
    api = user.http
    newcomer = {"username": "newuser", "password": PASSWORD}

    registered = api.post("/register/", json=newcomer)
    assert registered.status_code == 201
    assert registered.json() == {"id": registered.json()["id"], "username": "newuser"}

    tokens = api.post("/token/", json=newcomer)
    assert tokens.status_code == 200
    assert set(tokens.json()) == {"access", "refresh"}
    refreshed = api.post("/token/refresh/", json={"refresh": tokens.json()["refresh"]})
    assert refreshed.status_code == 200
    api.headers["Authorization"] = f"Bearer {refreshed.json()['access']}"

    sum_task = {"task_type": "sum", "input_data": {"numbers": [1, 2, 3]}}
    countdown = {"task_type": "countdown", "input_data": {"seconds": 5}}
    created = [api.post("/tasks/create/", json=body) for body in (sum_task, countdown)]
    assert [answer.status_code for answer in created] == [201, 201]
    ids = [answer.json()["id"] for answer in created]
    assert created[0].headers["Location"].endswith(f"/api/tasks/{ids[0]}/")

    done = [user.wait(task_id) for task_id in ids]
    results = [{"result": 6}, {"message": "Обратный отсчёт завершён"}]
    for task, body, result in zip(done, (sum_task, countdown), results, strict=True):
        assert {name: task[name] for name in SEED_FIELDS} == {
            **body,
            "id": task["id"],
            "status": "completed",
            "result": result,
            "created_at": task["created_at"],
        }
        assert UTC_TIME.fullmatch(task["created_at"])
        assert task["status_label"] == "Выполнено"
        assert task["attempt"] == 1

    listed = api.get("/tasks/").json()
    assert {key: listed[key] for key in ("count", "next", "previous")} == {
        "count": 2,
        "next": None,
        "previous": None,
    }
    assert listed["results"] == done


def test_the_sixth_active_task_is_refused_in_the_seeds_words(live: Live) -> None:
    user = User.register(live)
    ids = [user.submit("countdown", {"seconds": 2}) for _ in range(5)]
    refused = user.create("sum", {"numbers": [1]})
    assert refused.status_code == 400
    assert refused.json() == {
        "detail": "Вы не можете создать более 5 активных задач.",
        "code": "active_limit_exceeded",
    }
    assert user.http.get("/limits/").json() == {
        "active_limit": 5,
        "active": 5,
        "available": 0,
        "tasks": ids,
    }
    for task_id in ids:
        user.wait(task_id)
    assert user.create("sum", {"numbers": [1]}).status_code == 201


@pytest.mark.parametrize("slash", ["", "/"])
def test_every_address_works_as_postman_would_send_it(live: Live, slash: str) -> None:
    user = User.register(live)
    task_id = user.sum(1, 2, 3)
    body = json.dumps({"left": "over"}).encode()
    headers = {"Content-Type": "application/json"}
    for path in ("tasks", f"tasks/{task_id}", "limits", "me", "task-types", "task-types/sum"):
        answer = user.http.request("GET", f"/{path}{slash}", content=body, headers=headers)
        assert answer.status_code == 200, (path, answer.text)
    created = user.http.post(
        f"/tasks/create{slash}", json={"task_type": "sum", "input_data": {"numbers": [1]}}
    )
    assert created.status_code == 201
    refreshed = user.http.post(f"/token/refresh{slash}", json={"refresh": user.refresh})
    assert refreshed.status_code == 200


def test_owners_do_not_see_each_other(live: Live) -> None:
    one, two = User.register(live), User.register(live)
    task_id = one.sum(1)
    stranger = two.http.get(f"/tasks/{task_id}/")
    nobody = two.http.get("/tasks/999999999/")
    assert stranger.status_code == nobody.status_code == 404
    assert stranger.content == nobody.content
    assert two.http.get("/tasks/").json()["results"] == []
