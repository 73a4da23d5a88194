"""The dict ``TASKYARD`` in Django's settings."""

from typing import Any

import pytest

from taskyard.core.conf import Conf, conf
from taskyard.server import env

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
