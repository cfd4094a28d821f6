"""The sections ``[http]``, ``[uploads]`` and ``[lake]`` of the settings."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from ingest.section import AddressList, Port, PositiveInt, Seconds, Section

_HTTPS_URL = re.compile(r"https://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?")


class HttpSettings(Section):
    """The HTTP API; it is off without a certificate."""

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` for all.")
    port: Port = Field(8443, description="Port to listen on; 0 takes a free one.")
    certificate_file: Path | None = Field(
        None, description="TLS certificate with its chain, in PEM; read anew when the file changes."
    )
    key_file: Path | None = Field(None, description="Private key of the certificate, in PEM, mode 0600.")
    allow_plain: bool = Field(
        default=False,
        description="Serve without TLS, on a loopback address only: for a try on this machine, or behind a "
        "proxy on it.",
    )
    min_tls: Literal["1.3", "1.2"] = Field("1.3", description="Oldest version of TLS; 1.2 with ECDHE and AEAD only.")
    client_certificates: Literal["off", "optional", "required"] = Field(
        "off",
        description="Mutual TLS. An account that has a CA of its own (`sealdrop api ca add`) always needs a "
        "certificate which that issued; `required` asks one of every account.",
    )
    public_url: str = Field(
        "", description="Where clients find the API, such as `https://api.example.com`: in tokens and redirects."
    )
    redirect_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="A port without TLS that answers every request with a redirect (301) to `public_url`.",
    )
    header_timeout_s: Seconds = Field(10, description="Time for a TLS handshake, and for the headers of a request.")
    body_timeout_s: Seconds = Field(60, description="Time for the body of a request.")
    idle_timeout_s: Seconds = Field(60, description="Time without a request after which a connection ends.")
    drain_s: Seconds = Field(20, description="Time for running requests to finish when the service stops.")
    max_header_bytes: PositiveInt = Field(16_384, description="Largest request line and headers together.")
    max_body_bytes: PositiveInt = Field(10_000_000, description="Largest body; refused at the first byte over.")
    max_buffered_bytes: PositiveInt = Field(200_000_000, description="Bodies in memory at once, all together.")
    max_connections: PositiveInt = Field(1000, description="Open connections at once, all clients together.")
    max_connections_per_source: PositiveInt = Field(50, description="Open connections at once from one address.")
    source_requests_per_s: PositiveInt = Field(200, description="Requests a second from one address, in the long run.")
    source_failures_per_min: PositiveInt = Field(10, description="Failed logins a minute from one address.")
    credential_failures_per_min: PositiveInt = Field(30, description="Failed logins a minute with one credential.")
    exempt_sources: AddressList = Field(
        "127.0.0.0/8,::1",
        description="Addresses, patterns and networks without limits for one address: many clients behind one.",
    )
    account_requests_per_s: PositiveInt = Field(100, description="Requests a second of one account, in the long run.")
    max_uploads: PositiveInt = Field(15, description="Uploads at once of one account.")
    max_reads: PositiveInt = Field(3, description="Other requests at once of one account.")
    refresh_s: Seconds = Field(5, description="Time after which a change of an account holds at the latest.")
    token_s: PositiveInt = Field(600, description="How long an access token is good.")
    token_key_days: PositiveInt = Field(90, description="Age at which the key that signs tokens is replaced.")
    keyset_days: PositiveInt = Field(365, description="Age at which our request keyset of an account is replaced.")
    keyset_overlap_days: PositiveInt = Field(90, description="How long the one before it then still opens requests.")

    @property
    def enabled(self) -> bool:
        """Whether the API is served at all."""
        return self.certificate_file is not None or self.allow_plain

    @property
    def issuer(self) -> str:
        """Who says what a token says."""
        return self.public_url or "sealdrop"

    @field_validator("public_url")
    @classmethod
    def _is_an_https_url(cls, url: str) -> str:
        if url and not _HTTPS_URL.fullmatch(url):
            raise ValueError("this is no https:// URL of a host, with a port or without, and nothing behind")
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> HttpSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file come together")
        if self.allow_plain and self.certificate_file is not None:
            raise ValueError("with a certificate there is no allow_plain")
        if self.allow_plain and not _is_loopback(self.host):
            raise ValueError(f"allow_plain is for a loopback address only, and host is {self.host}")
        if self.client_certificates != "off" and self.certificate_file is None:
            raise ValueError("client_certificates needs TLS: certificate_file and key_file")
        if self.redirect_port is not None and (self.certificate_file is None or not self.public_url):
            raise ValueError("redirect_port needs a certificate, and public_url to say where to")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class UploadSettings(Section):
    """Records that come by the HTTP API."""

    max_records: PositiveInt = Field(1000, description="Records of one request.")
    gather_ms: int = Field(
        10, ge=0, le=100, description="How long the first upload of a batch waits for others to share its commit."
    )
    max_batch_records: PositiveInt = Field(5000, description="Records that share one commit, if one request has less.")
    max_waiting: PositiveInt = Field(500, description="Uploads that may wait at once, of all accounts together.")
    max_waiting_bytes: PositiveInt = Field(100_000_000, description="Size of their bodies together.")
    threads: PositiveInt = Field(4, description="Accounts whose uploads are stored at the same time.")
    remember_s: Seconds = Field(86_400, description="How long an `Idempotency-Key` is known.")


class LakeSettings(Section):
    """Reading the lake, and keeping it fast to read."""

    cursor_s: Seconds = Field(3600, description="How long a cursor over events is good.")
    keep_replaced_s: Seconds = Field(
        86_400,
        description="How long `sealdrop lake compact` keeps the files that it replaced, for readers and cursors that "
        "began before; at least `cursor_s`.",
    )

    @model_validator(mode="after")
    def _keeps_what_cursors_read(self) -> LakeSettings:
        if self.keep_replaced_s < self.cursor_s:
            raise ValueError("keep_replaced_s must be at least cursor_s, or cursors would end before their time")
        return self
