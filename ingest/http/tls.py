"""TLS: one context for the settings, the certificate and the CAs as they are now."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Collection
from pathlib import Path

from ingest.http.errors import TlsUnusable
from ingest.http.settings import HttpSettings

# of TLS 1.2 what has forward secrecy and AEAD; those of 1.3 all do (RFC 9325 §4.2)
_CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERIFY = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def server_context(settings: HttpSettings, authorities: Collection[bytes]) -> ssl.SSLContext | None:
    """What connections are encrypted with from now on, ``None`` for plain; ``authorities`` are CAs in DER.

    Raises `TlsUnusable`.
    """
    certificate, key = settings.certificate_file, settings.key_file
    if certificate is None or key is None:
        return None
    check_key_file(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if settings.min_tls == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as error:  # an `ssl.SSLError` is an `OSError`
        raise TlsUnusable(
            f"{certificate} and {key} are no certificate and its private key in PEM, without a passphrase.",
            detail=str(error),
        ) from None
    context.verify_mode = _VERIFY[settings.client_certificates]
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the CA of an account need not be a root
    if authorities and context.verify_mode is not ssl.CERT_NONE:
        context.load_verify_locations(cadata=b"".join(authorities))
    return context


def check_key_file(key: Path) -> None:
    """Raises `TlsUnusable` when the private key is missing or others may read it; its group may, as Debian does it."""
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        raise TlsUnusable(f"{key}: the private key of the certificate cannot be read: {error.strerror}.") from None
    if mode & 0o007:
        raise TlsUnusable(f"{key}: the private key can be read by others (mode {mode:04o}): chmod 600 {key}")


def stamp(settings: HttpSettings) -> tuple[object, ...]:
    """What changes when one of the files does; a file that is missing for a moment counts as one."""
    return tuple(_stamp(file) for file in (settings.certificate_file, settings.key_file) if file is not None)


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _no_passphrase() -> str:
    """Nobody is asked at the terminal."""
    return ""
