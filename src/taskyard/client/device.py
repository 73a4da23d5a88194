"""What a person sees of a sign-in by the device flow (RFC 8628)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskyard.client.errors import ConnectionFailed

DEFAULT_INTERVAL_SECONDS = 5.0


@dataclass(frozen=True)
class DeviceCode:
    """The code that a person enters at ``url``; ``direct_url`` has it already, if there is one."""

    code: str
    url: str
    direct_url: str | None
    expires_in: float
    interval: float
    """Seconds between two polls."""
    secret: str
    """What the program polls with; not for people."""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "DeviceCode":
        """Raises ConnectionFailed for an answer that is none."""
        try:
            return cls(
                code=str(raw["user_code"]),
                url=str(raw["verification_uri"]),
                direct_url=raw.get("verification_uri_complete"),
                expires_in=float(raw["expires_in"]),
                interval=float(raw.get("interval") or DEFAULT_INTERVAL_SECONDS),
                secret=str(raw["device_code"]),
            )
        except (KeyError, TypeError, ValueError):
            raise ConnectionFailed("the provider's answer has no device code") from None
