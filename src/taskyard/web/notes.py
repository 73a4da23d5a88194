"""Notes on the next page: Django's messages. A project without them shows none."""

from functools import partial

from django.contrib import messages

success = partial(messages.success, fail_silently=True)
warning = partial(messages.warning, fail_silently=True)
error = partial(messages.error, fail_silently=True)
