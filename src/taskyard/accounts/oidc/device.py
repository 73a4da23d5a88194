"""What the command line needs to sign in by the device flow (RFC 8628); it speaks to the provider
itself."""

from taskyard.accounts.errors import SsoOff
from taskyard.accounts.oidc import configuration
from taskyard.accounts.oidc.provider import provider_of


def discovery() -> dict[str, str]:
    """Raises SsoOff, SsoUnavailable."""
    config = configuration.required()
    if config.cli_client_id is None:
        raise SsoOff
    metadata = provider_of(config.issuer).metadata.get()
    endpoint = metadata.get("device_authorization_endpoint")
    if endpoint is None:
        raise SsoOff
    return {
        "issuer": config.issuer,
        "client_id": config.cli_client_id,
        "device_authorization_endpoint": endpoint,
        "token_endpoint": metadata["token_endpoint"],
        "scope": config.cli_scope,
    }
