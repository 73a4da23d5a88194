"""Says which app to install to a project that names the package ``taskyard`` as one."""

from types import ModuleType

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured


class PackageConfig(AppConfig):
    name = "taskyard"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        # Django would take the models as those of this app, and find no migrations of it.
        raise ImproperlyConfigured(
            "INSTALLED_APPS: taskyard is not an app. Write taskyard.core instead, and taskyard.api "
            "or taskyard.web beside it."
        )
