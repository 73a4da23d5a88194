"""The same project with sessions, below a script name, with every odd setting at once."""

from tests.host_project.settings import *  # noqa: F403
from tests.host_project.settings import INSTALLED_APPS as _APPS

FORCE_SCRIPT_NAME = "/team"
INSTALLED_APPS = [*_APPS, "django.contrib.sessions"]
MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "tests.host_project.odd_urls"
_ODD = "tests.host_project.oddities"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.TokenAuthentication",
        f"{_ODD}.MachineAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.DjangoModelPermissions",
        f"{_ODD}.NotBlocked",
    ],
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "ALLOWED_VERSIONS": ["v9"],
    "DEFAULT_VERSION": "v9",
    "DEFAULT_RENDERER_CLASSES": [f"{_ODD}.CamelCase"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "rest_framework.negotiation.DefaultContentNegotiation",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "DEFAULT_SCHEMA_CLASS": "rest_framework.schemas.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": [f"{_ODD}.OnceADay"],
    "EXCEPTION_HANDLER": f"{_ODD}.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "PREPROCESSING_HOOKS": [f"{_ODD}.refuse"],
    "POSTPROCESSING_HOOKS": [f"{_ODD}.refuse"],
    "CAMELIZE_NAMES": True,
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"odd": {"format": "ODD %(name)s %(message)s"}},
    "handlers": {"odd": {"class": "logging.StreamHandler", "formatter": "odd"}},
    "root": {"handlers": ["odd"], "level": "INFO"},
}
