"""A certificate authority with an authority below it, and servers' certificates from that one: a real chain."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


class Authority:
    """``file`` is what a client must trust; servers send their certificate with that of the authority between."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self._root = _name("Root")
        root = _certificate(self._root, self._root_key.public_key(), self._root, self._root_key, ca=True)
        self._name = _name("Issuing")
        self._between = _certificate(self._name, self._key.public_key(), self._root, self._root_key, ca=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(root.public_bytes(_PEM))

    def server(self, host: str, *, days: int = 1) -> ssl.SSLContext:
        """What a server for this name or address needs; negative ``days``: its certificate ended so long ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(_name(host), key.public_key(), self._name, self._key, ca=False, host=host, days=days)
        chain, key_file = self._folder / f"{host}.{days}.pem", self._folder / f"{host}.{days}.key"
        chain.write_bytes(certificate.public_bytes(_PEM) + self._between.public_bytes(_PEM))
        key_file.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key_file)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    host: str = "",
    days: int = 1,
) -> x509.Certificate:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=10))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if host:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
