"""Messages in files that change while they are read, and what reading a large one costs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from keystore.errors import ArmorInvalid, KeystoreError, Truncated
from keystore.openpgp import EngineName, decrypt
from keystore.pgp_keys import PrivateKey
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.sender import PASSPHRASE, Gpg

engines = pytest.mark.parametrize("engine", ["native", "gnupg"])
MEASURE = """
import sys
from pathlib import Path
from keystore.openpgp import decrypt
from keystore.pgp_keys import PrivateKey
from keystore.secret import Secret

secret, passphrase, small, large = sys.argv[1:]
key = PrivateKey.unlock("uuid", Secret(Path(secret).read_bytes()), Secret(passphrase.encode()))
for path in (small, large):
    with open(path, "rb") as source:
        count = sum(map(len, decrypt(source, [key], engine="native")))
    # not ru_maxrss, which a child takes over from the process that started it
    status = Path("/proc/self/status").read_text()
    print(count, next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@engines
def test_a_file_that_is_cut_while_it_is_read(rsa: PrivateKey, tmp_path: Path, engine: EngineName) -> None:
    """FAULTS P30: an error of ours and no dead process, for we never map the file."""
    path = tmp_path / "cut.gpg"
    path.write_bytes(write.message(rsa, write.literal(random.Random(30).randbytes(30_000_000))))
    with path.open("rb") as source:
        message = decrypt(source, [rsa], engine=engine)
        blocks = iter(message)
        next(blocks)
        os.truncate(path, 15_000_000)
        with pytest.raises(Truncated):
            b"".join(blocks)


@engines
def test_a_file_that_grows_while_it_is_read(rsa: PrivateKey, tmp_path: Path, engine: EngineName) -> None:
    """FAULTS P30."""
    path = tmp_path / "grows.gpg"
    path.write_bytes(write.message(rsa, write.literal(random.Random(30).randbytes(30_000_000))))
    with path.open("rb") as source:
        blocks = iter(decrypt(source, [rsa], engine=engine))
        next(blocks)
        with path.open("ab") as more:
            more.write(b"one more row\n")
        with pytest.raises(ArmorInvalid):
            b"".join(blocks)


def test_resident_memory_does_not_grow_with_the_file(gpg: Gpg, tmp_path: Path) -> None:
    """FAULTS P33: ten times the data, at most 8 MB more, and less than 100 MB in all."""
    (tmp_path / "secret").write_bytes(gpg.secret_key("cv"))
    for name, times in (("small", 200), ("large", 2000)):
        (tmp_path / name).write_bytes(gpg.encrypt("cv", PLAIN * times, "--armor"))
    arguments = [str(tmp_path / "secret"), PASSPHRASE, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, check=True)
    small, large = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert (small[0], large[0]) == (len(PLAIN) * 200, len(PLAIN) * 2000)
    assert large[1] - small[1] < 8_000
    assert large[1] < 100_000


@pytest.mark.parametrize("name", [b"../../x", b"_CONSOLE", b"\x1b]0;x\x07\xff\n", b"a" * 255])
@pytest.mark.parametrize("mode", [b"b", b"t", b"u"])
def test_the_name_and_mode_inside_change_nothing(
    rsa: PrivateKey, name: bytes, mode: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS P24: no file is made, no byte converted, the name is in no text."""
    monkeypatch.chdir(tmp_path)
    plain = b"a\r\nb\nc\r\n\xff"
    inner = write.literal(plain, mode=mode, name=name)
    path = tmp_path / "message"
    path.write_bytes(write.message(rsa, inner))
    with path.open("rb") as source:
        assert b"".join(decrypt(source, [rsa])) == plain
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(write.message(rsa, inner + inner))
    with path.open("rb") as source, pytest.raises(KeystoreError) as raised:
        b"".join(decrypt(source, [rsa]))
    assert name.decode("latin-1") not in raised.value.public + raised.value.detail


def test_a_critical_packet_of_unknown_type_is_refused(rsa: PrivateKey, tmp_path: Path) -> None:
    """FAULTS P25: types 22 to 39 are critical (RFC 9580 §4.3), inside and around the message."""
    path = tmp_path / "message"
    for tag in (22, 39):
        unknown = write.packet(tag, b"new")
        for data in (write.message(rsa, unknown + write.literal(PLAIN)), unknown + write.message(rsa, b"")):
            path.write_bytes(data)
            with path.open("rb") as source, pytest.raises(KeystoreError):
                b"".join(decrypt(source, [rsa]))
