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


def test_the_environment_and_the_apps_have_the_same_defaults() -> None:
    defaults = {variable.name: variable.default for variable in env.VARIABLES}
    for name, field in Conf.model_fields.items():
        assert name == "BROKER_URL" or defaults[f"TASKYARD_{name}"] == field.default
