"""Which keys and certificates open an account, with OpenSSH's own programs."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.door.handshake import _padding_s
from ingest.ledger.ssh_keys import Access
from ingest.ssh_keys import read_ssh_key
from tests.door.conftest import Answer, OpenSite, Site

NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("restriction", "opens"),
    [
        ({"sources": "127.0.0.0/8"}, True),
        ({"sources": "127.0.0.?"}, True),
        ({"sources": "10.0.0.0/8,192.0.2.*"}, False),
        ({"sources": "*,!127.0.0.1"}, False),
        ({"expires_at": NOW + timedelta(hours=1)}, True),
        ({"expires_at": NOW - timedelta(seconds=1)}, False),
        ({"cert_authority": True}, False),
    ],
)
async def test_key_opens_from_its_sources_until_it_expires(
    site: Site, restriction: dict[str, object], opens: bool
) -> None:
    (key,) = site.accesses["acme"].keys
    site.accesses["acme"] = Access((replace(key, **restriction),))  # type: ignore[arg-type]
    answer = await site.sftp("ls")
    assert (answer.code == 0) is opens
    if not opens:
        assert "Permission denied (publickey)" in answer.err


async def test_account_opens_from_its_own_sources_only(site: Site) -> None:
    keys = site.accesses["acme"].keys
    for sources, code in (("192.0.2.0/24", 255), ("127.0.0.1", 0)):
        site.accesses["acme"] = Access(keys, sources)
        assert (await site.sftp("ls")).code == code


async def test_one_of_ten_keys_opens(site: Site) -> None:
    others = tuple(_public(asyncssh.generate_private_key("ssh-ed25519")) for _ in range(9))
    site.accesses["acme"] = Access((*others, *site.accesses["acme"].keys))
    assert (await site.sftp("ls")).code == 0


async def test_rsa_key_signs_with_sha2_only(site: Site) -> None:
    """FAULTS S8: SHA-1 signatures are refused, also those that a client sends without asking."""
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    site.accesses["acme"] = Access((_public(key),))
    async with site.connect(client_keys=[key]):
        pass
    with pytest.raises(asyncssh.PermissionDenied):
        async with site.connect(client_keys=[key], signature_algs=["ssh-rsa"]):
            pass


class Authority:
    """A certificate authority of a customer, and one more key that it signs."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.folder
        for name in ("authority", "ann"):
            self._keygen("-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        line = f"cert-authority {(self.folder / 'authority.pub').read_text()}"
        site.accesses["acme"] = Access((read_ssh_key(line),))

    def sign(self, *options: str, key: str = "ann") -> Path:
        self._keygen("-q", "-s", str(self.folder / "authority"), "-I", "x", *options, str(self.folder / f"{key}.pub"))
        return self.folder / f"{key}-cert.pub"

    async def sftp(self, certificate: Path, key: str = "ann") -> Answer:
        extra: Sequence[str] = ("-o", f"CertificateFile={certificate}")
        return await self.site.sftp("ls", key=self.folder / key, extra=extra)

    @staticmethod
    def _keygen(*arguments: str) -> None:
        subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("options", "opens"),
    [
        (("-n", "acme"), True),
        (("-n", "other,acme", "-V", "-1h:+1h"), True),
        (("-n", "acme", "-O", "source-address=127.0.0.0/8,10.0.0.0/8"), True),
        (("-n", "acme", "-O", "source-address=10.0.0.0/8"), False),
        (("-n", "globex"), False),
        ((), False),  # without principals it would be good for everybody
        (("-n", "acme", "-V", "-2h:-1h"), False),
        (("-n", "acme", "-V", "+1h:+2h"), False),
        (("-n", "acme", "-O", "force-command=id"), False),
        (("-n", "acme", "-O", "critical:of-tomorrow=x"), False),
        (("-n", "acme", "-h"), False),
    ],
)
async def test_certificate_opens_the_account_that_it_names(site: Site, options: tuple[str, ...], opens: bool) -> None:
    """FAULTS S8: principals, validity, source-address and critical options of a certificate (PROTOCOL.certkeys)."""
    authority = Authority(site)
    answer = await authority.sftp(authority.sign(*options))
    assert (answer.code == 0) is opens, answer.err
    assert (
        await site.sftp("ls", key=authority.folder / "authority")
    ).code != 0  # the authority's own key opens nothing


async def test_certificate_of_an_authority_that_is_restricted_or_unknown(site: Site) -> None:
    authority = Authority(site)
    certificate = authority.sign("-n", "acme")
    (key,) = site.accesses["acme"].keys
    for changed in (replace(key, sources="192.0.2.1"), replace(key, expires_at=NOW - timedelta(1))):
        site.accesses["acme"] = Access((changed,))
        assert (await authority.sftp(certificate)).code != 0
    site.accesses["acme"] = Access((replace(key, cert_authority=False),))
    assert (await authority.sftp(certificate)).code != 0


async def test_rsa_certificate_opens(site: Site) -> None:
    authority = Authority(site)
    authority._keygen("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(site.folder / "bob"))
    assert (await authority.sftp(authority.sign("-n", "acme", key="bob"), "bob")).code == 0


@pytest.mark.parametrize("garbage", [b"", b"\0\0\0\x0bssh-ed25519", b"\0\0\0\x07ssh-new" + b"x" * 40, b"\xff" * 400])
async def test_tries_with_what_is_no_key_are_counted(open_site: OpenSite, garbage: bytes) -> None:
    """FAULTS S7, S8: a connection has six tries, whatever it tries."""
    async with open_site(max_auth_attempts=3) as site:

        class Client(asyncssh.SSHClient):
            tries = 0

            def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
                self.connection = conn

            def public_key_auth_requested(self) -> asyncssh.SSHKeyPair:
                Client.tries += 1
                pair = asyncssh.load_keypairs([str(site.key("stranger"))])[0]
                pair.public_data = garbage
                return pair

        with pytest.raises(asyncssh.DisconnectError, match="Too many authentication failures"):
            async with site.connect(client_keys=None, client_factory=Client):
                pass
        assert Client.tries == 3


async def test_refusal_waits_for_its_step_whoever_is_asked_for(site: Site) -> None:
    """FAULTS S7: no refusal is as quick as what was looked up."""
    for account in ("acme", "nobody", "../acme"):
        began = time.perf_counter()
        with pytest.raises(asyncssh.PermissionDenied):
            async with site.connect(account, client_keys=[str(site.key("stranger"))]):
                pass
        assert time.perf_counter() - began >= 0.02


@given(st.text(max_size=20), st.floats(0, 2))
def test_refusal_ends_on_a_step_of_its_name(name: str, spent_s: float) -> None:
    """FAULTS S7: whatever a look-up takes within a step, the answer comes at its end; the steps of a name stay."""
    end = spent_s + _padding_s(name, spent_s)
    step = _padding_s(name, 0)
    assert 0.02 <= step < 0.026
    assert end >= spent_s
    assert math.isclose(math.log2(end / step), round(math.log2(end / step)), abs_tol=1e-6)


def _public(key: asyncssh.SSHKey):  # type: ignore[no-untyped-def]
    return read_ssh_key(key.export_public_key("openssh").decode())
