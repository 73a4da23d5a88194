"""The view that tells the command line where to sign in."""

from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts.errors import SsoOff
from taskyard.accounts.oidc import configuration
from taskyard.api import schemas
from taskyard.api.openapi import documented
from taskyard.api.views.base import OpenView


class SingleSignOn(OpenView):
    @documented("Find the provider of single sign-on", None, {200: schemas.SingleSignOn}, (404,))
    def get(self, request: Request) -> Response:
        """Says what a program needs to sign a person in by the device flow (RFC 8628), which it
        speaks with the provider. The access token that it gets there is one for this API."""
        if configuration.configuration() is None:
            raise SsoOff
        from taskyard.accounts.oidc import device

        return Response(device.discovery())
