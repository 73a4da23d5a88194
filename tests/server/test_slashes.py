"""Every address works with and without its last slash, without a redirect to the other one."""

from typing import Any

import pytest
from django.test import Client

SITE = [
    "/sign-in", "/register", "/tasks", "/tasks/new", "/tasks/new/sum", "/password", "/staff",
    "/staff/tasks", "/staff/queues", "/staff/errors", "/staff/users", "/staff/audit", "/admin",
    "/admin/login", "/admin/taskyard_accounts/user", "/admin/taskyard_accounts/user/add",
    "/admin/taskyard/task",
    "/admin/password_change", "/livez", "/readyz", "/metrics", "/api/schema", "/api/docs",
]  # fmt: skip


@pytest.fixture
def boss(client: Client, django_user_model: Any) -> Client:
    client.force_login(django_user_model.objects.create_superuser("boss", password="x"))
    return client


@pytest.mark.django_db
@pytest.mark.parametrize("path", SITE)
def test_both_forms_are_the_same_page(boss: Client, path: str) -> None:
    answers = [boss.get(f"{path}{slash}") for slash in ("", "/")]
    assert len({answer.status_code for answer in answers}) == 1
    assert answers[0].status_code != 404
    assert not any(path in answer.headers.get("Location", "") for answer in answers)


@pytest.mark.django_db
@pytest.mark.parametrize("path", SITE)
def test_neither_form_is_led_to_the_other_before_signing_in(client: Client, path: str) -> None:
    answers = [client.get(f"{path}{slash}") for slash in ("", "/")]
    assert len({answer.status_code for answer in answers}) == 1
    assert not any(answer.status_code == 301 for answer in answers)


@pytest.mark.django_db
def test_a_form_is_taken_without_the_slash_too(boss: Client) -> None:
    assert boss.post("/theme", {"theme": "dark"}).status_code == 302
    assert boss.post("/sign-out").status_code == 302
    assert boss.get("/tasks").status_code == 302


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/nope", "/tasks/x", "/admin/nope", "/admin/taskyard_accounts/nope"]
)
def test_an_unknown_address_stays_unknown(boss: Client, path: str) -> None:
    for slash in ("", "/"):
        assert boss.get(path + slash).status_code == 404


@pytest.mark.django_db
def test_the_icon_is_there(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert b"<svg" in answer.content
