"""The GnuPG engine: same messages, same verdicts, nothing left behind."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keystore.errors import Unsupported
from keystore.openpgp import EngineName, Limits, decrypt
from keystore.openpgp.gnupg import refusal
from keystore.pgp_keys import PrivateKey
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import plain_text, verdict
from tests.openpgp.sender import KINDS, PASSPHRASE, Gpg

OURS = f"sealdrop-gpg-{os.getpid()}-"
ACCEPTED = [
    ("BEGIN_DECRYPTION", ""),
    ("DECRYPTION_INFO", "2 9"),
    ("PLAINTEXT", "62 0 "),
    ("PLAINTEXT_LENGTH", "10"),
    ("DECRYPTION_OKAY", ""),
    ("GOODMDC", ""),
    ("END_DECRYPTION", ""),
]


def with_info(info: str) -> list[tuple[str, str]]:
    return [(word, info if word == "DECRYPTION_INFO" else value) for word, value in ACCEPTED]


def left_behind() -> list[str]:
    """Private folders of ours, and living agents in them."""
    folders = [str(path) for root in ("/dev/shm", "/tmp") for path in Path(root).glob(OURS + "*")]
    for process in psutil.process_iter(["name", "cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or [])
        if "gpg" in (process.info["name"] or "") and OURS in words and process.info["status"] != "zombie":
            folders.append(words)
    return folders


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """FAULTS P29, K6."""
    yield
    for _ in range(20):
        if not left_behind():
            return
        threading.Event().wait(0.1)
    assert left_behind() == []


@pytest.mark.parametrize("options", [[], ["--armor", "--compress-algo", "bzip2"], ["--throw-keyids"]])
def test_what_gpg_sends(gpg: Gpg, keys: dict[str, PrivateKey], options: list[str]) -> None:
    for kind in KINDS:
        message = decrypt(io.BytesIO(gpg.encrypt(kind, PLAIN, *options)), list(keys.values()), engine="gnupg")
        assert b"".join(message) == PLAIN
        assert (message.key_id, message.engine, message.cipher) == (f"uuid-of-{kind}", "gnupg", "AES256")
        assert (message.integrity, message.bytes_plain) == ("mdc", len(PLAIN))


def test_an_unknown_signer_is_no_reason_to_refuse(gpg: Gpg, rsa: PrivateKey) -> None:
    """FAULTS P21."""
    assert plain_text(gpg.encrypt("rsa", PLAIN, "--sign", "--local-user", "=cv"), rsa, engine="gnupg") == PLAIN


@pytest.mark.parametrize("cipher", ["CAMELLIA256", "CAMELLIA128", "TWOFISH"])
def test_auto_leaves_rare_ciphers_to_gpg(gpg: Gpg, rsa: PrivateKey, cipher: str) -> None:
    """FAULTS P23."""
    data = gpg.encrypt("rsa", PLAIN, "--cipher-algo", cipher)
    message = decrypt(io.BytesIO(data), [rsa])
    assert b"".join(message) == PLAIN
    assert message.engine == "gnupg"
    assert verdict(data, rsa, engine="native") == "pgp.unsupported"


@pytest.mark.parametrize("cipher", ["3DES", "CAST5", "BLOWFISH", "IDEA"])
def test_legacy_ciphers_need_the_switch(gpg: Gpg, rsa: PrivateKey, cipher: str) -> None:
    """FAULTS P23: refused by name with every engine, unless the limits allow them."""
    data = gpg.encrypt("rsa", PLAIN, "--cipher-algo", cipher)
    engines: list[EngineName] = ["auto", "native", "gnupg"]
    for engine in engines:
        with pytest.raises(Unsupported, match=f"(?i){cipher}"):
            plain_text(data, rsa, engine=engine)
    assert plain_text(data, rsa, engine="auto", limits=Limits(legacy_ciphers=True)) == PLAIN


def test_without_gpg_a_rare_cipher_is_unsupported(
    gpg: Gpg, rsa: PrivateKey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = gpg.encrypt("rsa", PLAIN, "--cipher-algo", "CAMELLIA256")
    common = gpg.encrypt("rsa", PLAIN)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="Camellia256") as raised:
        plain_text(data, rsa, engine="auto")
    assert "gpg" in raised.value.detail
    assert plain_text(common, rsa, engine="auto") == PLAIN
    assert verdict(common, rsa, engine="gnupg") == "pgp.unsupported"


def test_a_large_message_in_bounded_pieces_and_an_early_close(gpg: Gpg, rsa: PrivateKey) -> None:
    data = gpg.encrypt("rsa", bytes(60_000_000))
    message = decrypt(io.BytesIO(data), [rsa], engine="gnupg")
    assert sum(map(len, message)) == 60_000_000
    message = decrypt(io.BytesIO(data), [rsa], engine="gnupg")
    assert len(next(iter(message))) <= 1 << 20
    message.close()


def test_the_verdict_survives_when_gpg_ends_before_it_has_read_all(keys: dict[str, PrivateKey]) -> None:
    seipd = write.packet(18, write.seipd_body(write.literal(os.urandom(5_000_000))))
    key_id = next(iter(keys["rsa"].decryption_keys))
    for foreign in (write.foreign_pkesk(key_id), write.foreign_pkesk(bytes(8))):
        assert verdict(foreign + seipd, *keys.values(), engine="gnupg") == "pgp.corrupt"
        assert verdict(foreign + seipd[:-1], *keys.values(), engine="gnupg") == "pgp.truncated"


def test_no_secret_in_arguments_environment_or_files(gpg: Gpg, rsa: PrivateKey) -> None:
    """FAULTS P31: looked at while gpg runs."""
    message = decrypt(io.BytesIO(gpg.encrypt("rsa", os.urandom(30_000_000), "-z", "0")), [rsa], engine="gnupg")
    assert next(iter(message))
    seen = 0
    for process in psutil.process_iter(["name"]):
        if "gpg" in process.info["name"] and process.status() != "zombie":
            folder = Path(f"/proc/{process.pid}")
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if OURS.encode() in text:
                seen += 1
                assert PASSPHRASE.encode() not in text
    assert seen
    for home in Path("/dev/shm").glob(OURS + "*"):
        assert home.stat().st_mode & 0o777 == 0o700
        assert not [path for path in home.rglob("*") if path.is_file() and PASSPHRASE.encode() in path.read_bytes()]
    message.close()


def test_the_time_limit_ends_gpg(rsa: PrivateKey) -> None:
    data = write.message(rsa, write.compressed(write.literal(bytes(200_000_000))))
    limits = Limits(max_seconds=0.25)
    assert verdict(data, rsa, engine="gnupg", limits=limits) == "pgp.engine_failed"


def test_the_accepting_status_is_accepted() -> None:
    assert refusal(ACCEPTED, 0, 10, aead_packet=False) == ""
    assert refusal(with_info("0 9 2"), 0, 10, aead_packet=True) == ""
    assert refusal(with_info("0 9 0"), 0, 10, aead_packet=True) == "", "as gpg 2.2 says it"


@pytest.mark.parametrize("word", ["BEGIN_DECRYPTION", "DECRYPTION_INFO", "PLAINTEXT", "DECRYPTION_OKAY", "GOODMDC"])
def test_a_status_word_that_is_missing_or_said_twice_is_refused(word: str) -> None:
    """FAULTS P1."""
    assert refusal([line for line in ACCEPTED if line[0] != word], 0, 10, aead_packet=False)
    assert refusal([*ACCEPTED, *(line for line in ACCEPTED if line[0] == word)], 0, 10, aead_packet=False)


def test_every_other_sign_of_trouble_is_refused() -> None:
    """FAULTS P1."""
    for word in ("DECRYPTION_FAILED", "BADMDC", "UNEXPECTED", "NODATA", "ERROR", "FAILURE"):
        assert refusal([*ACCEPTED, (word, "x")], 0, 10, aead_packet=False)
    assert refusal(ACCEPTED, 2, 10, aead_packet=False)
    assert refusal(ACCEPTED, 0, 9, aead_packet=False)
    assert refusal(with_info("0 9"), 0, 10, aead_packet=False)
