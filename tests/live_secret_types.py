"""Registers the types with secrets in a live system."""

from tests import secret_types

secret_types.register()
