"""The same project with the page, and without our API: sessions, its own login and error pages."""

import os

from tests.host_project.settings import *  # noqa: F403
from tests.host_project.settings import DATABASES as _DATABASES
from tests.host_project.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [
    # Before the project's own apps: no template of ours may hide one of theirs.
    "taskyard.web",
    "taskyard.web.staff",
    *(app for app in _APPS if app != "taskyard.api"),
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "tests.host_project.surroundings.StaffByAddress",
]
ROOT_URLCONF = "tests.host_project.page_urls"
LOGIN_URL = "sign-in"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["tests.host_project.surroundings.unrelated_names"]},
    }
]
USE_THOUSAND_SEPARATOR = True
MESSAGE_TAGS = {20: "primary", 25: "fine", 40: "danger"}
DATABASES = {"default": {**_DATABASES["default"], "ATOMIC_REQUESTS": True}}
STATIC_ROOT = os.path.join(os.environ.get("TASKYARD_HOME", "."), "static")
STORAGES = {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}
}
