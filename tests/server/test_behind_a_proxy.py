"""Taskyard behind a reverse proxy: under a path, on another port, with kept connections."""

import http.client
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.contract.client import PASSWORD, User
from tests.live_system import Live
from tests.server.front import Front

pytestmark = pytest.mark.servers
LINK = re.compile(r'(?:href|src|action|data-[a-z-]*href|data-schema|sse-connect)="([^"]+)"')
PAGES = (
    *("", "tasks/", "tasks/new/", "tasks/new/sum/", "password/", "no/such/page/", "api/docs/"),
    *("staff/", "staff/users/", "admin/"),
)


@pytest.fixture(params=["handed on", "cut off"])
def front(request: pytest.FixtureRequest, new_live: Callable[..., Live]) -> Iterator[Front]:
    live = new_live(TASKYARD_BASE_PATH="/jobs")
    with Front(live.port, path="/jobs", strips=request.param == "cut off") as front:
        live.url = f"{front.url}/jobs"
        yield front


def test_every_link_of_every_page_is_under_the_path(front: Front, live: Live) -> None:
    name = User.register(live).name
    staff = f"User.objects.filter(username={name!r}).update(is_staff=True, is_superuser=True)"
    live.command("manage", "shell", "-c", staff)
    with httpx.Client(base_url=live.url, timeout=30) as browser:
        sign_in = browser.get("/sign-in/", params={"next": "/jobs/tasks/"})
        form = {"username": name, "password": PASSWORD, "next": "/jobs/tasks/"}
        form["csrfmiddlewaretoken"] = _token(sign_in)
        signed_in = browser.post("/sign-in/", data=form)
        assert signed_in.headers["location"] == "/jobs/tasks/", signed_in.text
        assert {cookie.path for cookie in browser.cookies.jar} == {"/jobs/"}
        theme = {
            "theme": "dark",
            "next": "/jobs/tasks/",
            "csrfmiddlewaretoken": form["csrfmiddlewaretoken"],
        }
        browser.post("/theme/", data=theme)
        browser.post("/language/", data={**theme, "language": "en"})
        assert {cookie.path for cookie in browser.cookies.jar} == {"/jobs/"}
        seen: set[str] = set()
        for page in PAGES:
            answer = browser.get(f"/{page}", follow_redirects=True)
            assert answer.url.path.startswith("/jobs/")
            seen |= {urljoin(str(answer.url), link) for link in LINK.findall(answer.text)}
        own = {link for link in seen if urlsplit(link).netloc == urlsplit(live.url).netloc}
        assert len(own) > 20
        for link in own:
            assert urlsplit(link).path.startswith("/jobs/"), link
            if "/events/" not in link and not link.endswith("no/such/page/#main"):
                # The method may be wrong; the test requires only that the address exists.
                assert browser.get(link).status_code != 404, link


def test_the_api_names_addresses_under_the_path(front: Front, live: Live) -> None:
    user = User.register(live)
    created = user.create("sum", {"numbers": [1]})
    assert created.headers["location"] == f"{live.url}/api/tasks/{created.json()['id']}/"
    assert user.http.get(created.headers["location"]).status_code == 200
    user.sum(2)
    listed = user.http.get("/tasks/", params={"page_size": 1}).json()
    assert listed["next"].startswith(f"{live.url}/api/tasks/?")
    assert user.http.get(listed["next"]).json()["previous"].startswith(f"{live.url}/api/tasks/?")
    assert user.http.get("/schema/").json()["servers"][0]["url"] == "/jobs"
    waited = user.http.post(
        "/tasks/create/",
        json={"task_type": "sum", "input_data": {"numbers": [4]}},
        headers={"Prefer": "wait=20"},
    )
    assert waited.json()["status"] == "completed"
    assert waited.headers["location"].startswith(f"{live.url}/api/tasks/")
    with user.http.stream("GET", f"/tasks/{created.json()['id']}/events/") as stream:
        assert '"completed"' in "".join(stream.iter_text())
    assert httpx.get(f"{live.url}/readyz").status_code == 200


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    from contextlib import ExitStack

    from tests.conftest import USUAL, start_live

    with ExitStack() as stack:
        settings = {
            "TASKYARD_TRUSTED_PROXIES": "1",
            "DJANGO_ALLOWED_HOSTS": "tasks.example,127.0.0.1,[::1]",
        }
        yield start_live(stack, tmp_path_factory.mktemp("proxied"), {**USUAL, **settings})


@pytest.mark.parametrize(
    ("headers", "site"),
    [
        ({"Host": "tasks.example:8443"}, "http://tasks.example:8443"),
        ({"Host": "tasks.example", "X-Forwarded-Port": "8443"}, "http://tasks.example:8443"),
        ({"Host": "tasks.example", "X-Forwarded-Port": "80"}, "http://tasks.example"),
        ({"Host": "tasks.example", "X-Forwarded-Port": "junk"}, "http://tasks.example"),
        ({"Host": "[::1]", "X-Forwarded-Port": "8080"}, "http://[::1]:8080"),
        (
            {"Host": "tasks.example", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https"},
            "https://tasks.example",
        ),
        ({"X-Forwarded-Host": "tasks.example:8443"}, "http://tasks.example:8443"),
        ({"X-Forwarded-Host": "evil.example, tasks.example"}, "http://tasks.example"),
        (
            {"Forwarded": 'for=192.0.2.1;host="tasks.example:8443";proto=https'},
            "https://tasks.example:8443",
        ),
        ({"Forwarded": "host=evil.example, for=192.0.2.1;Host=tasks.example"}, "http://tasks.example"),
    ],
)  # fmt: skip
def test_links_have_the_host_port_and_scheme_that_a_trusted_proxy_tells(
    proxied: Live, headers: dict[str, str], site: str
) -> None:
    user = User.register(proxied)
    body = {"task_type": "sum", "input_data": {"numbers": [1]}}
    created = user.http.post("/tasks/create/", json=body, headers=headers)
    assert created.headers["location"].startswith(f"{site}/api/tasks/")


def test_a_host_that_is_told_must_be_allowed(proxied: Live) -> None:
    for headers in ({"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil.example"}):
        assert httpx.get(f"{proxied.url}/sign-in/", headers=headers).status_code == 400


def test_what_a_client_tells_is_ignored_without_a_trusted_proxy(live: Live) -> None:
    told = {
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1", "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example;proto=https",
    }  # fmt: skip
    user = User.register(live)
    body = {"task_type": "sum", "input_data": {"numbers": [1]}}
    created = user.http.post("/tasks/create/", json=body, headers=told)
    assert created.headers["location"].startswith(f"{live.url}/api/tasks/")


@pytest.mark.parametrize(("seconds", "kept"), [(None, True), ("1", False)])
def test_an_idle_connection_is_kept_as_long_as_the_setting_says(
    new_live: Callable[..., Live], seconds: str | None, *, kept: bool
) -> None:
    live = new_live(**{"TASKYARD_KEEP_ALIVE_SECONDS": seconds} if seconds else {})
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=5)
    connection.request("GET", "/livez")
    connection.getresponse().read()
    opened = connection.sock
    time.sleep(6.5)  # uvicorn alone would have closed it after 5
    if kept:
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200
        assert connection.sock is opened
    else:
        assert opened.recv(1) == b""
    connection.close()


def _token(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found
    return found[1]
