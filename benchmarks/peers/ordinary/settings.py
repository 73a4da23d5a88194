"""An ordinary Django project. BENCH_FORM says how it is run: see the package's FORMS."""

import os
from urllib.parse import urlsplit

_postgresql = urlsplit(os.environ["BENCH_POSTGRESQL_URL"])
_kept = os.environ["BENCH_FORM"] != "ordinary"
_tuned = os.environ["BENCH_FORM"] in ("celery-per-task", "bare")

SECRET_KEY = "a benchmark has no secrets, but tokens are signed with this"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "benchmarks.peers.ordinary.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "benchmarks.peers.ordinary",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if _tuned:
    MIDDLEWARE = []  # tokens and JSON need none of it
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "static/"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _postgresql.path[1:],
        "USER": _postgresql.username,
        "HOST": _postgresql.hostname,
        "PORT": _postgresql.port,
        # Django's own default is a new connection for each request.
        "CONN_MAX_AGE": None if _kept else 0,
        # Without it Django has no statement prepared.
        "OPTIONS": {"prepare_threshold": 5} if _tuned else {},
    }
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework_simplejwt.authentication.JWTAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 10,
}
if _tuned:
    REST_FRAMEWORK |= {
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    }
CELERY_BROKER_URL = os.environ["BENCH_REDIS_URL"]
ACTIVE_LIMIT = int(os.environ.get("BENCH_ACTIVE_LIMIT", "5"))
