"""The environment is read strictly, and an unsafe configuration does not start."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskyard.server import env
from taskyard.server.database import database
from taskyard.server.env import ConfigurationError
from tests.live_system import clean_environment

MAIL = {"TASKYARD_EMAIL_URL": "smtp://mail.example.org", "TASKYARD_EMAIL_FROM": "a@b.c"}
GOOD_KEY = "kP3vXq9sTz7mWc2LrN8bYd5hJf6gAe4u"


def read(**given: str) -> dict[str, Any]:
    values = env.read(given)
    env.refuse_unsafe(values)
    return values


def test_nothing_given_is_the_documented_default() -> None:
    values = read()
    assert (values["HOST"], values["PORT"]) == ("127.0.0.1", 8000)
    assert values["TASKYARD_ACTIVE_LIMIT"] == 5
    assert values["DJANGO_DEBUG"] is False
    assert values["TASKYARD_QUEUES"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"TASKYARD_ACTIVE_LIMT": "5"}, "TASKYARD_ACTIVE_LIMT is not a setting"),
        (
            {"TASKYARD_ACTIVE_LIMIT": "many"},
            "Input should be a valid integer",
        ),
        ({"TASKYARD_ACTIVE_LIMIT": "0"}, "greater than or equal to 1"),
        ({"PORT": "70000"}, "PORT: Input should be less than or equal to 65535"),
        ({"DJANGO_DEBUG": "maybe"}, "DJANGO_DEBUG: Input should be a valid boolean"),
        ({"TASKYARD_REGISTER_RATE": "often"}, "TASKYARD_REGISTER_RATE: expected a rate"),
        ({"TASKYARD_PASSWORD_POLICY": "lax"}, "Input should be 'basic' or 'strict'"),
        ({"TASKYARD_TASK_TYPES": "my-module"}, "names of Python modules"),
        ({"DATABASE_URL": "mysql://a/b"}, "DATABASE_URL: expected an address"),
        ({"REDIS_URL": "amqp://a"}, "REDIS_URL: expected an address"),
        ({"DJANGO_CSRF_TRUSTED_ORIGINS": "example.org"}, "expected origins"),
        *(
            ({"TASKYARD_CORS_ORIGINS": origin}, "TASKYARD_CORS_ORIGINS: expected origins like")
            for origin in (
                *("example.org", "https://app.example.org/", "https://app.example.org/path"),
                *("https://*.example.org", "ftp://example.org", "null", "https://a.example, b"),
            )
        ),
        *(
            ({"TASKYARD_FILES_URL": url}, f"TASKYARD_FILES_URL: .*{said}")
            for url, said in (
                ("/srv/files", "expected file:///folder or s3://bucket/prefix"),
                ("file://host/files", "expected file:///folder"),
                ("http://127.0.0.1:9000/bucket", "expected file:///folder"),
                ("s3://key:secret@bucket", "without credentials"),
                ("s3://b", "s3://bucket/prefix"),
                ("s3://bucket?acl=public-read", "has the parameters endpoint_url, region_name"),
                ("s3://bucket?endpoint_url", "after the . are parameters expected"),
                ("s3://bucket?endpoint_url=", "expected one value for endpoint_url"),
                ("s3://bucket?endpoint_url=minio:9000", "endpoint_url: expected an address"),
                ("s3://bucket?addressing_style=dns", "auto, path or virtual"),
            )
        ),
        *(
            ({"TASKYARD_EMAIL_URL": url}, f"TASKYARD_EMAIL_URL: {said}")
            for url, said in (
                *((url, "expected smtp://") for url in ("mail.example.org", "http://a", "smtp://")),
                *((url, "expected smtp://") for url in ("smtp://a/b", "file://", "console://a")),
                ("smtp://a?tls=on", "after the . may be starttls"),
                ("smtp://a?starttls=maybe", "after the . may be starttls"),
                ("smtp://u:p@mail.example.org?starttls=off", "a password is sent only with TLS"),
            )
        ),
        ({"TASKYARD_EMAIL_FROM": "Taskyard"}, "TASKYARD_EMAIL_FROM: expected a sender"),
        ({"TASKYARD_EMAIL_FROM": "a@b.c, d@e.f"}, "TASKYARD_EMAIL_FROM: expected a sender"),
        ({"TASKYARD_EMAIL_FROM": "a@b.c"}, "TASKYARD_EMAIL_FROM needs TASKYARD_EMAIL_URL"),
        ({"TASKYARD_EMAIL_URL": "smtp://a"}, "TASKYARD_EMAIL_URL needs TASKYARD_EMAIL_FROM"),
        (
            {**MAIL, "DJANGO_ALLOWED_HOSTS": "tasks.example.org"},
            "TASKYARD_EMAIL_URL needs TASKYARD_PUBLIC_URL",
        ),
        *(
            ({"TASKYARD_PUBLIC_URL": url}, "TASKYARD_PUBLIC_URL: expected an address")
            for url in ("tasks.example.org", "https://a/jobs", "https://u@a", "ftp://a", "https://")
        ),
        ({"TASKYARD_REGISTRATION": "maybe"}, "'open', 'invite' or 'closed'"),
        ({"DJANGO_SECRET_KEY_FILE": "/nowhere/key"}, "DJANGO_SECRET_KEY_FILE cannot be read"),
        ({"DJANGO_SECRET_KEY": "short"}, "shorter than 32 bytes"),
        ({"DJANGO_SECRET_KEY": "django-insecure-" + "x" * 40}, "well-known default"),
        ({"DJANGO_SECRET_KEY": "ab" * 20}, "well-known default"),
        ({"DJANGO_ALLOWED_HOSTS": "*"}, "admits every host"),
        ({"DJANGO_DEBUG": "1", "HOST": "0.0.0.0"}, "DJANGO_DEBUG is on"),
        ({"DJANGO_DEBUG": "1", "DJANGO_ALLOWED_HOSTS": "example.org"}, "DJANGO_DEBUG is on"),
    ],
)
def test_a_bad_environment_is_refused_with_its_reason(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read(**given)


def test_a_refusal_never_repeats_a_secret() -> None:
    for name, value in (
        ("DATABASE_URL", "mysql://user:hunter2@db/x"),
        ("TASKYARD_EMAIL_URL", "imap://user:hunter2@mail"),
        ("TASKYARD_EMAIL_URL", "smtp://user:hunter2"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            read(**{name: value})
        assert "hunter2" not in str(refused.value)


def test_links_begin_with_the_public_url_or_else_with_this_machine() -> None:
    assert env.public_url(read()) == "http://127.0.0.1:8000"
    assert env.public_url(read(HOST="0.0.0.0", PORT="81")) == "http://localhost:81"
    given = {"DJANGO_ALLOWED_HOSTS": "tasks.example.org"}
    assert env.public_url(read(**given)) is None
    given["TASKYARD_PUBLIC_URL"] = "https://tasks.example.org/"
    assert env.public_url(read(**given)) == "https://tasks.example.org"


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(GOOD_KEY + "\n")
    assert read(DJANGO_SECRET_KEY_FILE=str(file))["DJANGO_SECRET_KEY"] == GOOD_KEY
    with pytest.raises(ConfigurationError, match="both set"):
        read(DJANGO_SECRET_KEY_FILE=str(file), DJANGO_SECRET_KEY=GOOD_KEY)


@pytest.mark.parametrize("name", sorted(env.MAY_BE_FILES))
def test_every_address_and_secret_may_come_from_a_file(name: str) -> None:
    assert name in env.NAMES
    with pytest.raises(ConfigurationError, match=f"{name}_FILE cannot be read"):
        read(**{f"{name}_FILE": "/nowhere/at/all"})


def test_the_table_of_the_documentation_names_every_variable() -> None:
    assert all(f"`{name}`" in env.markdown() for name in env.NAMES)


def start(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**clean_environment(), **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("command", ["up", "web", "worker", "migrate", "doctor"])
def test_a_start_with_a_bad_environment_says_one_line_and_exits_2(
    command: str, tmp_path: Path
) -> None:
    result = start(
        "taskyard.server.cli", command, TASKYARD_HOME=str(tmp_path), TASKYARD_NO_SUCH="1"
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == "taskyard: TASKYARD_NO_SUCH is not a setting of Taskyard\n"


def test_a_module_of_task_types_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = start(
        "taskyard.server.cli",
        *("manage", "check"),
        TASKYARD_HOME=str(tmp_path),
        TASKYARD_TASK_TYPES="no_such_module",
    )
    assert result.returncode == 2
    said = "taskyard: TASKYARD_TASK_TYPES: there is no module no_such_module;"
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_an_evicting_redis_is_refused(tmp_path: Path) -> None:
    import redis

    from taskyard.server import child_process
    from taskyard.server.valkey import Valkey

    server = Valkey(tmp_path / "broker")
    process = server.start(dict(os.environ))
    try:
        server.wait(process)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        for command in ("up", "web", "worker"):
            result = start(
                "taskyard.server.cli",
                command,
                TASKYARD_HOME=str(tmp_path / "home"),
                REDIS_URL=server.url,
                PORT="0",
            )
            assert result.returncode == 2
            assert result.stderr.count("\n") == 1
            assert "allkeys-lru" in result.stderr
    finally:
        child_process.stop([process], seconds=5)


def test_a_postgresql_address_is_taken_apart(tmp_path: Path) -> None:
    found = database(
        "postgres://us%40er:p%2Fw@db.example:6543/name?sslmode=require",
        home=tmp_path,
        for_worker=True,
    )
    assert found["USER"] == "us@er"
    assert found["PASSWORD"] == "p/w"
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example", "6543", "name")
    assert found["OPTIONS"]["sslmode"] == "require"
    assert found["OPTIONS"]["session"]["plan_cache_mode"] == "force_generic_plan"
    assert "pool" not in found["OPTIONS"]
    with pytest.raises(ConfigurationError, match="names no database"):
        database("postgres://db.example", home=tmp_path, for_worker=False)


def _postgresql(address: str) -> dict[str, Any]:
    return database(address, home=Path(), for_worker=False, answer_seconds=4.0)


def test_numbers_and_flags_of_an_address_are_read_as_such() -> None:
    options = _postgresql(
        "postgres://h/d?prepare_threshold=0&connect_timeout=7&keepalives=off"
        "&server_side_binding=false&application_name=007"
    )["OPTIONS"]
    assert options["prepare_threshold"] == 0
    assert options["connect_timeout"] == 7
    assert options["keepalives"] == 0
    assert options["server_side_binding"] is False
    assert options["application_name"] == "007"
    assert (
        _postgresql("postgres://h/d?prepare_threshold=none")["OPTIONS"]["prepare_threshold"] is None
    )


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgres://h/d?prepare_threshold=few", "prepare_threshold: expected a whole number"),
        ("postgres://h/d?keepalives=maybe", "keepalives: expected true or false"),
        ("postgres://h/d?pooll=1", "pooll is not an option"),
        ("postgres://h:port/d", "DATABASE_URL: Port could not be cast"),
        ("postgres://h:1,i:99999/d", "DATABASE_URL: Port out of range"),
    ],
)
def test_an_option_that_is_of_no_use_is_said_in_one_line(address: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        _postgresql(address)


def test_several_hosts_are_several_and_the_one_that_takes_writes_is_meant() -> None:
    found = _postgresql("postgres://u:p@one,two:6543,[::1]:7/d?sslmode=prefer")
    assert (found["HOST"], found["PORT"], found["USER"]) == ("one,two,::1", ",6543,7", "u")
    assert found["OPTIONS"]["target_session_attrs"] == "read-write"
    other = _postgresql("postgres://one,two/d?target_session_attrs=any")
    assert (other["PORT"], other["OPTIONS"]["target_session_attrs"]) == ("", "any")
    assert "target_session_attrs" not in _postgresql("postgres://one/d")["OPTIONS"]


def test_options_of_an_address_are_merged_with_ours() -> None:
    found = _postgresql("postgres://h/d?options=-c%20lock_timeout%3D7s%20--jit=off")["OPTIONS"]
    assert "options" not in found
    assert (found["session"]["lock_timeout"], found["session"]["jit"]) == ("7s", "off")
    assert found["session"]["TimeZone"] == "UTC"
    other = _postgresql("postgres://h/d?options=-N%20-c%20jit=off")["OPTIONS"]
    assert other["options"] == "-N -c jit=off"
    with pytest.raises(ConfigurationError, match="options are lost with pool_mode=transaction"):
        _postgresql("postgres://h/d?options=-cjit%3Doff&pool_mode=transaction")


def test_a_pooler_in_transaction_mode_is_given_nothing_that_it_loses() -> None:
    found = _postgresql("postgres://h/d?pool_mode=transaction")
    assert found["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert found["OPTIONS"]["prepare_threshold"] is None
    named = _postgresql("postgres://h/d?pool_mode=transaction&prepare_threshold=5")
    assert named["OPTIONS"]["prepare_threshold"] == 5
