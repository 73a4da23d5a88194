"""The dict ``TASKYARD`` in Django's settings."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from taskyard.core.checks import check_settings
from taskyard.core.conf import Conf, conf
from taskyard.server import env
from tests.configured import configure

pytestmark = pytest.mark.django_db


def test_a_key_that_is_not_given_has_its_default(settings: Any) -> None:
    settings.TASKYARD = {}
    assert conf() == Conf()
    settings.TASKYARD = {"ACTIVE_LIMIT": 7}
    assert (conf().ACTIVE_LIMIT, conf().LEASE_SECONDS) == (7, 10)


def test_each_setting_of_the_apps_is_an_environment_variable() -> None:
    values = env.read({"TASKYARD_QUEUES": "a, b", "TASKYARD_BYTES_PER_USER": "3 MiB"})
    given = {name: values[f"TASKYARD_{name}"] for name in Conf.model_fields.keys() - env.RENAMED}
    assert Conf(**given) == Conf(QUEUES=["a", "b"], BYTES_PER_USER=3 * 2**20)


@pytest.mark.parametrize(
    ("key", "value", "code", "said"),
    [
        ("ACTIVE_LIMIT", 0, "taskyard.E001", "greater than or equal to 1"),
        ("ACTIVE_LIMIT", "5", "taskyard.E001", "valid integer"),
        ("SUBMIT_RATE", "many", "taskyard.E001", "expected a rate like 30/hour"),
        ("ACTIVE_LIMITS", 5, "taskyard.E005", "is not a setting of Taskyard"),
    ],
)
def test_a_check_names_each_bad_key(
    settings: Any, key: str, value: object, code: str, said: str
) -> None:
    configure(settings, **{key: value})
    (error,) = check_settings(None)
    assert error.id == code
    assert key in error.msg
    assert said in error.msg
    if code == "taskyard.E005":
        assert error.hint == "Did you mean ACTIVE_LIMIT?"
    with pytest.raises(ImproperlyConfigured, match=key):
        conf()
