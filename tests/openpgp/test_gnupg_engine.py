"""The GnuPG engine: same messages, same verdicts, nothing left behind."""

from __future__ import annotations

import contextlib
import io
import os
import random
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from keystore.errors import EngineFailed, Unsupported
from keystore.openpgp import EngineName, Limits, Message, decrypt
from keystore.openpgp.gnupg import _failure, refusal
from keystore.pgp_keys import PrivateKey
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import plain_text, verdict
from tests.openpgp.sender import KINDS, PASSPHRASE, Gpg

pytestmark = pytest.mark.alone  # it looks at what other processes of this user leave behind

OURS = f"sealdrop-gpg-{os.getpid()}-"
ACCEPTED = [
    ("BEGIN_DECRYPTION", ""),
    ("DECRYPTION_INFO", "2 9"),
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
            folder, text = Path(f"/proc/{process.pid}"), b""
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # another test's, that has just ended
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
    """However fast gpg is: whoever reads waits until the limit has passed, with most of the text still to come."""
    data = write.message(rsa, write.literal(bytes(40_000_000)))
    limits = Limits(max_seconds=2.0)
    message = decrypt(io.BytesIO(data), [rsa], engine="gnupg", limits=limits)
    with pytest.raises(EngineFailed, match="too long"):
        read_slowly(message, pause_s=limits.max_seconds)
    assert message.bytes_plain < 40_000_000


def read_slowly(message: Message, *, pause_s: float) -> None:
    for _ in message:
        threading.Event().wait(pause_s)


def test_the_accepting_status_is_accepted() -> None:
    assert refusal(ACCEPTED, 0, aead_packet=False) == ""
    assert refusal(with_info("0 9 2"), 0, aead_packet=True) == ""
    assert refusal(with_info("0 9 0"), 0, aead_packet=True) == "", "as gpg 2.2 says it"


@pytest.mark.parametrize("word", ["BEGIN_DECRYPTION", "DECRYPTION_INFO", "DECRYPTION_OKAY", "GOODMDC"])
def test_a_status_word_that_is_missing_or_said_twice_is_refused(word: str) -> None:
    """FAULTS P1."""
    assert refusal([line for line in ACCEPTED if line[0] != word], 0, aead_packet=False)
    assert refusal([*ACCEPTED, *(line for line in ACCEPTED if line[0] == word)], 0, aead_packet=False)


def test_every_other_sign_of_trouble_is_refused() -> None:
    """FAULTS P1."""
    for word in ("DECRYPTION_FAILED", "BADMDC", "UNEXPECTED", "NODATA", "ERROR", "FAILURE"):
        assert refusal([*ACCEPTED, (word, "x")], 0, aead_packet=False)
    assert refusal(ACCEPTED, 2, aead_packet=False)
    assert refusal(with_info("0 9"), 0, aead_packet=False)


@pytest.mark.parametrize("cipher", ["AES256", "TWOFISH"])
@pytest.mark.parametrize("compression", ["zlib", "uncompressed"])
def test_every_tampered_message_is_corrupt(gpg: Gpg, rsa: PrivateKey, cipher: str, compression: str) -> None:
    """FAULTS P1, P2: gpg hands out all of it before it says so."""
    plain = random.Random(1).randbytes(200_000)
    data = gpg.encrypt("rsa", plain, "--cipher-algo", cipher, "--compress-algo", compression)
    start = data.index(rsa_key_id(rsa)) + 600
    chance = random.Random(2)
    for spot in (
        len(data) - 1,
        len(data) - 20,
        len(data) - 21,
        *(chance.randrange(start, len(data)) for _ in range(4)),
    ):
        changed = data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :]
        assert verdict(changed, rsa, engine="gnupg") in ("pgp.corrupt", "pgp.truncated", "pgp.armor_invalid")
    assert verdict(data[:-1], rsa, engine="gnupg") == "pgp.truncated"


def rsa_key_id(key: PrivateKey) -> bytes:
    return next(iter(key.decryption_keys))


INSIDE = {
    "nothing": b"",
    "a marker only": write.packet(10, b"PGP"),
    "two literals": write.literal(b"a") + write.literal(b"b"),
    "no packets": b"a,b\n",
    "a literal that is cut": write.literal(PLAIN)[:-1],
    "damaged zlib": write.packet(8, b"\x02" + zlib.compress(write.literal(PLAIN))[:-1] + b"x"),
    "an unknown critical packet": write.packet(30, b"x") + write.literal(PLAIN),
    "another encrypted message": write.packet(9, bytes(50)),
}


@pytest.mark.parametrize("inside", INSIDE)
def test_what_stands_inside_is_read_by_the_same_rules(rsa: PrivateKey, inside: str) -> None:
    """FAULTS P1, P8, P9: exactly one literal; the log says why not."""
    for message in (write.message(rsa, INSIDE[inside]), write.ocb_message(rsa, INSIDE[inside])):
        assert verdict(message, rsa, engine="gnupg") == "pgp.corrupt"
        assert verdict(message, rsa, engine="native") == "pgp.corrupt"


def test_the_caps_hold_for_what_gpg_unwraps(rsa: PrivateKey) -> None:
    """FAULTS P13, P14."""
    bomb = write.message(rsa, write.compressed(write.literal(bytes(8_000_000))))
    limits = Limits(ratio_free_bytes=1_000_000)
    assert verdict(bomb, rsa, engine="gnupg", limits=limits) == "data.too_large"
    deep = write.literal(b"x")
    for _ in range(5):
        deep = write.compressed(deep)
    assert verdict(write.message(rsa, deep), rsa, engine="gnupg") == "pgp.corrupt"


def test_an_ocb_message_through_gpg(rsa: PrivateKey) -> None:
    message = decrypt(io.BytesIO(write.ocb_message(rsa, write.compressed(write.literal(PLAIN)))), [rsa], engine="gnupg")
    assert b"".join(message) == PLAIN
    assert (message.integrity, message.compression) == ("aead", "zlib")


def test_gpg_that_ended_without_a_word_has_not_judged_the_message() -> None:
    """FAULTS P27."""
    assert isinstance(_failure([], 2, "", "gpg said BEGIN_DECRYPTION 0 times"), EngineFailed)
