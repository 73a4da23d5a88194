"""Django's settings: one module, everything that varies comes from the environment (env.py)."""

import os
import sys
from datetime import timedelta
from typing import Any

from taskyard.core.conf import Conf
from taskyard.server import cors, env, home, logs, mail_server
from taskyard.server.database import database
from taskyard.server.file_storage import files_storage

try:
    _env = env.read(os.environ)
    env.refuse_unsafe(_env)
    TASKYARD_OIDC: dict[str, Any] | None = env.single_sign_on(_env)
    SECRET_KEY: str = _env["DJANGO_SECRET_KEY"] or home.secret_key(
        _env["TASKYARD_HOME"], make=_env["TASKYARD_PROCESS"] != "command"
    )
    TASKYARD: dict[str, Any] = {
        "BROKER_URL": (
            _env["REDIS_URL"] or _env["CELERY_BROKER_URL"] or home.broker_url(_env["TASKYARD_HOME"])
        ),
        **{name: _env[f"TASKYARD_{name}"] for name in Conf.model_fields if name not in env.RENAMED},
        "PUBLIC_URL": env.public_url(_env),
    }
    if not TASKYARD["ENCRYPTION_KEYS"] and _env["DATABASE_URL"] is None:
        # Processes of several machines may share another database, but not a file of this one.
        TASKYARD["ENCRYPTION_KEYS"] = home.encryption_keys(
            _env["TASKYARD_HOME"], make=_env["TASKYARD_PROCESS"] != "command"
        )
    DATABASES: dict[str, dict[str, Any]] = {
        "default": database(
            _env["DATABASE_URL"],
            home=_env["TASKYARD_HOME"],
            for_worker=_env["TASKYARD_PROCESS"] == "worker",
            # A request is answered within five seconds. A worker without an answer for as long as
            # its lease has lost its tasks. Commands such as migrate may take long.
            answer_seconds={"web": 4.0, "worker": _env["TASKYARD_LEASE_SECONDS"]}.get(
                _env["TASKYARD_PROCESS"]
            ),
        )
    }
    if _env["TASKYARD_PROCESS"] == "command":
        # A command that runs in another folder creates no database there; only `migrate` does.
        DATABASES["default"].pop("TASKYARD_HOME", None)
    if _env["TASKYARD_PROCESS"] == "worker":
        # The connection of handlers has no settings of ours for planner and timeouts.
        DATABASES["default"]["HANDLER_OPTIONS"] = database(
            _env["DATABASE_URL"], home=_env["TASKYARD_HOME"], for_worker=False
        )["OPTIONS"]
    _FILES = files_storage(
        _env["TASKYARD_FILES_URL"],
        home=_env["TASKYARD_HOME"],
        access_key=_env["TASKYARD_FILES_ACCESS_KEY"],
        secret_key=_env["TASKYARD_FILES_SECRET_KEY"],
    )
except env.ConfigurationError as _error:
    sys.stderr.write(f"taskyard: {_error}\n")
    raise SystemExit(2) from None

TASKYARD_HOME = _env["TASKYARD_HOME"]
TASKYARD_THREADS = _env["TASKYARD_THREADS"]
TASKYARD_HASHING_THREADS = _env["TASKYARD_HASHING_THREADS"]
TASKYARD_HASHING_QUEUE = _env["TASKYARD_HASHING_QUEUE"]
TASKYARD_LONG_REQUESTS = _env["TASKYARD_LONG_REQUESTS"]
TASKYARD_BODY_BYTES = _env["TASKYARD_BODY_BYTES"]
TASKYARD_FORM_BYTES = _env["TASKYARD_FORM_BYTES"]
TASKYARD_HEADER_BYTES = _env["TASKYARD_HEADER_BYTES"]
TASKYARD_HEADER_COUNT = _env["TASKYARD_HEADER_COUNT"]
TASKYARD_STALL_SECONDS = _env["TASKYARD_STALL_SECONDS"]
TASKYARD_LEAST_RATE = _env["TASKYARD_LEAST_RATE"]
TASKYARD_UNREAD_BYTES = _env["TASKYARD_UNREAD_BYTES"]
TASKYARD_BASE_PATH: str = _env["TASKYARD_BASE_PATH"]
TASKYARD_LOG_REQUESTS = _env["TASKYARD_LOG_REQUESTS"]
TASKYARD_PASSWORD_LOGIN: bool = _env["TASKYARD_PASSWORD_LOGIN"]
TASKYARD_METRICS_TOKEN = _env["TASKYARD_METRICS_TOKEN"]

DEBUG = _env["DJANGO_DEBUG"]
ALLOWED_HOSTS = _env["DJANGO_ALLOWED_HOSTS"]
CSRF_TRUSTED_ORIGINS = _env["DJANGO_CSRF_TRUSTED_ORIGINS"]

INSTALLED_APPS = [
    "taskyard.server",
    "taskyard.core",
    "taskyard.accounts",
    "taskyard.files",
    "taskyard.api",
    "taskyard.web",
    "taskyard.web.staff",
    "taskyard.server.apps.ThrottledAdmin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
]

MIDDLEWARE = [
    "taskyard.server.middleware.RequestId",
    *(["taskyard.server.forwarded.Forwarded"] if TASKYARD["TRUSTED_PROXIES"] else []),
    "taskyard.server.middleware.SecurityHeaders",
    "taskyard.server.health.Health",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "taskyard.server.middleware.ApiLocale",
    "taskyard.server.middleware.Refused",
    "taskyard.server.middleware.SiteSession",
    "taskyard.server.middleware.SiteLocale",
    "taskyard.server.middleware.SiteCommon",
    "taskyard.server.middleware.SiteCsrf",
    "taskyard.server.middleware.SiteAuthentication",
    "taskyard.server.middleware.SiteMessages",
    "taskyard.server.middleware.SiteQuery",
]

# Browser applications of other origins use the API with a bearer token, never with a session.
if _env["TASKYARD_CORS_ORIGINS"]:
    MIDDLEWARE.insert(2, "corsheaders.middleware.CorsMiddleware")
    # The addresses of links answer every origin themselves.
    CORS_URLS_REGEX = r"^/api/(?!shared(/|\Z))"
    CORS_ALLOW_ALL_ORIGINS = "*" in _env["TASKYARD_CORS_ORIGINS"]
    CORS_ALLOWED_ORIGINS = [origin for origin in _env["TASKYARD_CORS_ORIGINS"] if origin != "*"]
    CORS_ALLOW_METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    CORS_ALLOW_HEADERS = cors.REQUEST_HEADERS
    CORS_EXPOSE_HEADERS = cors.ANSWER_HEADERS

ROOT_URLCONF = "taskyard.server.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

LOGIN_URL = "taskyard_web:sign-in"
AUTH_USER_MODEL = "taskyard_accounts.User"
PASSWORD_HASHERS = [
    "taskyard.accounts.hashers.Argon2",
    "taskyard.accounts.hashers.PBKDF2",
]
_VALIDATION = "django.contrib.auth.password_validation"
_STRICT = _env["TASKYARD_PASSWORD_POLICY"] == "strict"  # noqa: S105
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "taskyard.accounts.validators.MaximumLengthValidator"},
    {
        "NAME": f"{_VALIDATION}.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12 if _STRICT else 8},
    },
    {"NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATION}.NumericPasswordValidator"},
    # Not in the basic policy, because it refuses password123, the example of the README.
    *([{"NAME": f"{_VALIDATION}.CommonPasswordValidator"}] if _STRICT else []),
]

# How long the link to reset a password is valid.
PASSWORD_RESET_TIMEOUT = 3600
if _env["TASKYARD_EMAIL_URL"]:
    globals().update(mail_server.django_settings(_env["TASKYARD_EMAIL_URL"]))

LANGUAGE_CODE = "ru"
# One year.
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGES = [("ru", "Русский"), ("en", "English")]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
# Static files are served from the installed apps, so `collectstatic` is not needed.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "taskyard": _FILES,
}

DATA_UPLOAD_MAX_MEMORY_SIZE = TASKYARD_FORM_BYTES

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
if _env["TASKYARD_HTTPS"]:
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
if TASKYARD_BASE_PATH:
    FORCE_SCRIPT_NAME = TASKYARD_BASE_PATH
    SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = LANGUAGE_COOKIE_PATH = f"{TASKYARD_BASE_PATH}/"

LOGGING_CONFIG = "taskyard.server.logs.configure"
LOGGING = logs.configuration(
    _env["TASKYARD_LOG_LEVEL"],
    _env["TASKYARD_LOG_FORMAT"],
    take_over=_env["TASKYARD_PROCESS"] in ("web", "worker"),
)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["taskyard.accounts.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}

SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "LEEWAY": _env["TASKYARD_CLOCK_LEEWAY_SECONDS"],
    "SIGNING_KEY": SECRET_KEY,
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=TASKYARD["ACCESS_MINUTES"]),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=TASKYARD["REFRESH_DAYS"]),
    "ROTATE_REFRESH_TOKENS": TASKYARD["ROTATE_REFRESH"],
    "BLACKLIST_AFTER_ROTATION": True,
    "CHECK_REVOKE_TOKEN": True,
    "UPDATE_LAST_LOGIN": False,
}
