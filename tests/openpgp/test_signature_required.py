"""A pair that requires signatures: what becomes of a message without a good one."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest

from keystore.errors import SignatureRequired
from keystore.openpgp import EngineName, decrypt
from keystore.pgp_keys import PrivateKey
from keystore.pgp_signer import Signer
from keystore.secret import Secret
from tests.openpgp.conftest import PLAIN
from tests.openpgp.sender import PASSPHRASE, Gpg

BY_THE_SIGNER = ("--sign", "--local-user", "=cv")

engines = pytest.mark.parametrize("engine", ["native", "gnupg"])


@pytest.fixture(scope="module")
def strict(gpg: Gpg) -> PrivateKey:
    transferable = Secret(gpg.secret_key("rsa"))
    return PrivateKey.unlock("uuid-of-rsa", transferable, Secret(PASSPHRASE.encode()), signatures="require")


@pytest.fixture(scope="module")
def signer(gpg: Gpg) -> Signer:
    return Signer.read(gpg.run("--export", "=cv"), datetime.now(UTC))


@engines
@pytest.mark.parametrize(
    ("options", "state"),
    [
        ((), "none"),
        (("--sign", "--local-user", "=nist"), "unknown_signer"),
        ((*BY_THE_SIGNER, "--digest-algo", "SHA1"), "unchecked"),
    ],
)
def test_message_without_a_good_signature_is_refused_after_its_text(
    gpg: Gpg, strict: PrivateKey, signer: Signer, options: tuple[str, ...], state: str, engine: EngineName
) -> None:
    """FAULTS P21: the sender is told what to do, the operator's log what was found."""
    message = decrypt(io.BytesIO(gpg.encrypt("rsa", PLAIN, *options)), [strict], engine=engine, signers=[signer])
    with pytest.raises(SignatureRequired, match="registered") as raised:
        b"".join(message)
    assert raised.value.code == "pgp.signature_required"
    assert (message.signature, message.bytes_plain) == (state, len(PLAIN))
    assert state in raised.value.detail


@engines
def test_message_with_a_good_signature_is_read(
    gpg: Gpg, strict: PrivateKey, signer: Signer, engine: EngineName
) -> None:
    data = gpg.encrypt("rsa", PLAIN, *BY_THE_SIGNER)
    message = decrypt(io.BytesIO(data), [strict], engine=engine, signers=[signer])
    assert b"".join(message) == PLAIN
    assert (message.signature, message.signer) == ("good", gpg.fingerprint("cv"))
    with pytest.raises(SignatureRequired):
        b"".join(decrypt(io.BytesIO(data), [strict], engine=engine))
