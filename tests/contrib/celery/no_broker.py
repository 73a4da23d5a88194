"""The settings of a project that gives its workers no Redis."""

from taskyard.server.settings import *  # noqa: F403
from taskyard.server.settings import INSTALLED_APPS as OURS
from taskyard.server.settings import TASKYARD as KEYS

INSTALLED_APPS = [name for name in OURS if name != "taskyard.server"]
TASKYARD = {**KEYS, "BROKER_URL": None}
