"""``sealdrop key``: what is stored, what is refused, and that no secret is shown."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.demo.sender import Gpg as Home
from tests.cli.conftest import Desk
from tests.openpgp import key_writer
from tests.openpgp.packet_writer import packet
from tests.openpgp.sender import PASSPHRASE, Gpg
from tests.support.served import SEALDROP, WAIT_S

KEYS = {
    "key_id",
    "account",
    "state",
    "fingerprint",
    "algorithm",
    "user_ids",
    "created_at",
    "expires_at",
    "last_used_at",
    "signatures",
    "public_key",
    "version",
    "retires_at",
    "subkeys",
    "imports",
}


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    sender = Gpg()
    sender.make_key("acme", "ed25519", "cv25519")
    yield sender
    sender.close()


@pytest.fixture
def acme(desk: Desk) -> Desk:
    desk.run("account", "add", "acme")
    return desk


def written(folder: Path) -> bytes:
    """Everything that the installation has on disk, but for the files that the test put there itself."""
    return b"".join(path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file())


def test_pair_is_imported_with_a_passphrase_file(acme: Desk, gpg: Gpg) -> None:
    private = acme.write("private.asc", gpg.secret_key("acme"))
    passphrase = acme.write("passphrase", PASSPHRASE + "\r\n")
    stored = acme.json("key", "import", "acme", private, "--passphrase-file", passphrase)
    assert set(stored) == KEYS
    assert str(uuid.UUID(stored["key_id"])) == stored["key_id"]
    assert stored["fingerprint"] == gpg.fingerprint("acme")
    assert "BEGIN PGP PUBLIC KEY BLOCK" in stored["public_key"]
    assert acme.json("key", "list") == acme.json("key", "list", "acme") == [stored]
    again = acme.fails("key", "import", "acme", private, "--passphrase-file", passphrase)
    assert stored["key_id"] in again


def test_import_shows_no_secret_and_leaves_none_on_disk(acme: Desk, gpg: Gpg) -> None:
    """FAULTS K5."""
    secret = gpg.secret_key("acme")
    private = acme.write("private.asc", secret)
    passphrase = acme.write("passphrase", PASSPHRASE)
    ran = acme.run("key", "import", "acme", private, "--passphrase-file", passphrase)
    shown = ran.out + ran.err + acme.run("key", "list").out + acme.run("key", "list", "--json").out
    body = max(secret.decode().splitlines(), key=len)
    assert PASSPHRASE not in shown
    assert body not in shown
    assert "PRIVATE" not in shown
    assert "keyId" in ran.err
    on_disk = written(acme.folder)
    assert PASSPHRASE.encode() not in on_disk
    assert body.encode() not in on_disk


@pytest.mark.parametrize("given", ["wrong", "", None])
def test_wrong_passphrase_stores_nothing_and_is_not_echoed(acme: Desk, gpg: Gpg, given: str | None) -> None:
    """FAULTS K7."""
    private = acme.write("private.asc", gpg.secret_key("acme"))
    options = () if given is None else ("--passphrase-file", acme.write("passphrase", given))
    said = acme.fails("key", "import", "acme", private, *options)
    assert "passphrase" in said
    assert "wrong" not in said
    assert acme.json("key", "list") == []


def test_public_key_alone_is_refused_with_the_command_that_exports_the_private_one(acme: Desk, gpg: Gpg) -> None:
    """FAULTS K7."""
    public = acme.write("public.asc", gpg.run("--armor", "--export", "=acme"))
    said = acme.fails("key", "import", "acme", public)
    assert "public key only" in said
    assert "gpg --armor --export-secret-keys" in said


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * ((1 << 20) + 1), b"\x00" * 100])
def test_file_that_is_no_key_is_refused(acme: Desk, content: bytes) -> None:
    """FAULTS K7: also one of 50 MB, of which no more than 1 MiB is read."""
    acme.fails("key", "import", "acme", acme.write("file", content))
    assert acme.json("key", "list") == []


def test_each_reason_for_which_a_key_is_refused_is_told(acme: Desk, gpg: Gpg) -> None:
    """FAULTS K7: by the command itself, with a way out; nothing is stored."""
    if gpg.run("--list-keys", "--with-colons").count(b"\npub") < 3:
        gpg.make_key("signs only", "ed25519")
        gpg.run("--faked-system-time", "20240101T000000", "--quick-gen-key", "expired", "ed25519", "default", "1d")
        fingerprint = gpg.fingerprint("expired")
        gpg.run("--faked-system-time", "20240101T000000", "--quick-add-key", fingerprint, "cv25519", "encr", "1d")
    huge = acme.write("huge.gpg", b"")
    with huge.open("r+b") as file:
        file.truncate(50_000_000)
    keys = {
        "several keys": gpg.run("--export-secret-keys"),
        "several armored blocks": gpg.secret_key("acme") * 2,
        "expired on 2024-01-02": gpg.secret_key("expired"),
        "no RSA or ECDH encryption subkey": gpg.secret_key("signs only"),
        "public key only": gpg.run("--export", "=acme"),
        "RSA with 16384 bits": rsa_of(16384),
        "larger than 64 KiB": gpg.secret_key("acme") + b"\n" * 70_000,
    }
    passphrase = acme.write("passphrase", PASSPHRASE)
    for reason, content in keys.items():
        private = acme.write("private.asc", content)
        assert reason in acme.fails("key", "import", "acme", private, "--passphrase-file", passphrase)
    assert "larger than 1,048,576 bytes" in acme.fails("key", "import", "acme", huge)
    assert acme.json("key", "list") == []


def rsa_of(bits: int) -> bytes:
    """A locked secret key with a modulus of so many bits."""
    modulus = bits.to_bytes(2) + b"\x80" + bytes(bits // 8 - 1)
    return packet(5, key_writer.public_body(4, 1, modulus + b"\x00\x11\x01\x00\x01") + b"\0" + bytes(100))


def test_answer_of_an_import_shows_what_was_stored(acme: Desk, gpg: Gpg) -> None:
    private = acme.write("private.asc", gpg.secret_key("acme"))
    text = acme.run("key", "import", "acme", private, "--passphrase-file", acme.write("passphrase", PASSPHRASE)).out
    (stored,) = acme.json("key", "list")
    shown = (stored["key_id"], stored["fingerprint"], stored["subkeys"][0]["fingerprint"], "Ed25519 + Curve25519")
    for word in (*shown, "Curve25519, encrypt", "acme", "never"):
        assert word in text


def test_files_that_are_not_there_are_named(acme: Desk, gpg: Gpg) -> None:
    private = acme.write("private.asc", gpg.secret_key("acme"))
    assert "nowhere" in acme.fails("key", "import", "acme", "nowhere")
    assert "nowhere" in acme.fails("key", "import", "acme", private, "--passphrase-file", "nowhere")


def test_passphrase_is_asked_for_at_a_terminal_and_not_echoed(acme: Desk, gpg: Gpg) -> None:
    private = acme.write("private.asc", gpg.secret_key("acme"))
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        [str(SEALDROP), "--config", str(acme.config), "key", "import", "acme", str(private)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    while b"Passphrase of the private key" not in shown:
        shown += os.read(controller, 1000)
    os.write(controller, PASSPHRASE.encode() + b"\n")
    try:
        while more := os.read(controller, 1000):
            shown += more
    except OSError:
        pass  # the terminal's last user has ended
    os.close(controller)
    assert process.wait(WAIT_S) == 0
    assert PASSPHRASE not in shown.decode()
    assert len(acme.json("key", "list")) == 1


@pytest.mark.parametrize("kind", ["rsa3072", "cv25519"])
async def test_generated_files_are_private_and_gpg_can_use_them(acme: Desk, kind: str) -> None:
    folder = acme.folder / "handed-out"
    made = acme.json("key", "generate", "acme", "--type", kind, "--out", folder)
    files = {name: Path(made[f"{name}_file"]) for name in ("public_key", "private_key", "passphrase")}
    assert set(made) == KEYS | {f"{name}_file" for name in files}
    assert sorted(folder.iterdir()) == sorted(files.values())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    passphrase = files["passphrase"].read_bytes().strip()
    assert passphrase not in written(acme.folder)
    with tempfile.TemporaryDirectory(prefix="sd-") as short:
        home = Home(Path(short))
        try:
            await home.import_public(files["private_key"].read_bytes())
            message = await home.encrypt(acme.write("plain", "a,b\n"), made["fingerprint"])
            assert await home.decrypt(message.read_bytes(), passphrase) == b"a,b\n"
        finally:
            await home.close()


def test_generate_shows_where_the_files_are_and_not_what_is_in_them(acme: Desk) -> None:
    folder = acme.folder / "handed-out"
    ran = acme.run("key", "generate", "acme", "--type", "cv25519", "--out", folder)
    for file in folder.iterdir():
        assert str(file) in ran.out
        assert file.read_text().splitlines()[-2 if file.suffix == ".asc" else 0] not in ran.out + ran.err
    assert "keyId" in ran.err
