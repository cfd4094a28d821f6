"""CAs of accounts for mutual TLS: read and checked before they are stored, and asked who issued a certificate.

The TLS handshake has verified a client certificate's chain, times and purpose against the CAs of all accounts together;
what is left to ask is whether it is one of *this* account's CAs that issued it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from ingest.ledger.api_access import ClientAuthority


class AuthorityRejected(Exception):
    """What was given as a CA certificate is none; the text says why."""


def read_authority(pem: bytes, now: datetime) -> ClientAuthority:
    """The one CA certificate in a PEM text. Raises `AuthorityRejected`."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise AuthorityRejected("this is no certificate in PEM") from None
    if len(certificates) != 1:
        raise AuthorityRejected("give one certificate at a time: that of the CA which issues the client certificates")
    certificate = certificates[0]
    try:
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    if not is_authority:
        raise AuthorityRejected("this certificate is not one of a CA: what it issues counts nowhere")
    if certificate.not_valid_after_utc <= now:
        raise AuthorityRejected(f"this certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d}")
    der = certificate.public_bytes(Encoding.DER)
    return ClientAuthority(
        fingerprint=hashlib.sha256(der).hexdigest(),
        subject=certificate.subject.rfc4514_string(),
        expires_at=certificate.not_valid_after_utc,
        certificate=der,
    )


def is_issued_by(certificate: bytes, authorities: Sequence[ClientAuthority]) -> bool:
    """Whether one of the authorities has signed the certificate (DER) itself."""
    issued = x509.load_der_x509_certificate(certificate)
    return any(_signed(issued, x509.load_der_x509_certificate(one.certificate)) for one in authorities)


def thumbprint(certificate: bytes) -> str:
    """What binds a token to a certificate: ``x5t#S256`` (RFC 8705 §3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()


def _signed(issued: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
