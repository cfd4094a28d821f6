"""A session key that gpg encrypted and told us, so that crafted messages have a genuine recipient of any kind."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from keystore.openpgp import packets
from keystore.openpgp.packets import Feed
from tests.openpgp import packet_writer as write
from tests.openpgp.sender import PASSPHRASE, Gpg

_SHOWN = re.compile(rb"SESSION_KEY (\d+):([0-9A-F]+)")


@dataclass(frozen=True)
class Session:
    """The packet, and what it holds."""

    pkesk: bytes
    cipher: int
    key: bytes


def told_session(gpg: Gpg, user_id: str, cipher: str) -> Session:
    """A session of this cipher for this recipient."""
    message = gpg.encrypt(user_id, b"", "--cipher-algo", cipher)
    feed = Feed(iter([message]))
    header = packets.read_header(feed)
    pkesk = write.packet(header.tag, b"".join(packets.body(feed, header)))
    unlock = ["--batch", "--pinentry-mode", "loopback", "--passphrase", PASSPHRASE]
    shown = subprocess.run(
        ["gpg", "--homedir", str(gpg.home), *unlock, "--status-fd", "1", "--show-session-key", "--decrypt"],
        input=message,
        capture_output=True,
        check=True,
    ).stdout
    found = _SHOWN.search(shown)
    assert found is not None
    return Session(pkesk, int(found[1]), bytes.fromhex(found[2].decode()))
