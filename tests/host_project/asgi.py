"""The ASGI application of the host project."""

import os

from django.core.asgi import get_asgi_application

import taskyard.live

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.host_project.settings")
application = taskyard.live.with_streams(get_asgi_application())
