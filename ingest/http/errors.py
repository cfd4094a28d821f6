"""What can keep the HTTP API from being served; the operator sees these, never a client."""

from __future__ import annotations

from typing import ClassVar


class HttpError(Exception):
    """Base of this package's errors; only its leaves are raised. ``public`` says what to do."""

    code: ClassVar[str]

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class AddressUnavailable(HttpError):
    """The address cannot be listened on: another program has the port, or the address is not this machine's."""

    code = "http.address_unavailable"


class TlsUnusable(HttpError):
    """The certificate or its key is missing, does not fit, or lies open to others."""

    code = "http.tls_unusable"


class NotConfigured(HttpError):
    """The API was asked for by name, and the settings have no certificate for it."""

    code = "http.not_configured"
