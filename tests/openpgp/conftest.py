from __future__ import annotations

from collections.abc import Iterator

import pytest

from keystore.openpgp import SignaturePolicy
from keystore.pgp_keys import PrivateKey
from keystore.secret import Secret
from tests.openpgp.sender import KINDS, PASSPHRASE, Gpg

PLAIN = b"identity,evtName,ts\n" + b"".join(b"user%d,Charged,17000%05d\n" % (n, n) for n in range(2000))


@pytest.fixture(scope="session")
def gpg() -> Iterator[Gpg]:
    sender = Gpg()
    for name, (primary, subkey) in KINDS.items():
        sender.make_key(name, primary, subkey)
    yield sender
    sender.close()


@pytest.fixture(scope="session")
def keys(gpg: Gpg) -> dict[str, PrivateKey]:
    """The pairs that the sender's gpg knows, as we hold them."""
    return {
        name: PrivateKey.unlock(f"uuid-of-{name}", Secret(gpg.secret_key(name)), Secret(PASSPHRASE.encode()))
        for name in KINDS
    }


@pytest.fixture(scope="session")
def rsa(keys: dict[str, PrivateKey]) -> PrivateKey:
    return keys["rsa"]


@pytest.fixture(scope="session")
def by_policy(gpg: Gpg, rsa: PrivateKey) -> dict[SignaturePolicy, PrivateKey]:
    """The RSA pair with each policy of signatures; ``verify`` is the usual."""
    secret, passphrase = Secret(gpg.secret_key("rsa")), Secret(PASSPHRASE.encode())
    policies: tuple[SignaturePolicy, ...] = ("ignore", "require")
    others = {policy: PrivateKey.unlock("uuid-of-rsa", secret, passphrase, signatures=policy) for policy in policies}
    return {"verify": rsa, **others}
