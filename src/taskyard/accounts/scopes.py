"""What an API key can be allowed to do."""

from enum import StrEnum


class Scope(StrEnum):
    """The names are part of the API."""

    TASKS_SUBMIT = "tasks:submit"
    TASKS_READ = "tasks:read"
    TASKS_CANCEL = "tasks:cancel"
    FILES = "files"
    SCHEDULES = "schedules"
    WEBHOOKS = "webhooks"
