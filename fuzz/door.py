"""What holds for a door whatever bytes come in: before the login, and as requests of one who has logged in.

A real door listens on loopback, in this process. The first octet of an input chooses where its rest goes: to the port
as it is or in SSH packets, or into an SFTP session (of version 3 to 6) as it is or cut into packets of right length.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import tempfile
from collections.abc import Collection, MutableMapping
from pathlib import Path
from typing import Any

import asyncssh
import structlog

from fuzz.rules import Broken
from ingest.door import Door, make_host_key
from ingest.ledger.ssh_keys import Access
from ingest.settings import DoorSettings
from ingest.spool import Spool, is_allowed_name
from ingest.ssh_keys import read_ssh_key

_MEMORY = Path("/dev/shm")  # noqa: S108  # what is stored there is thrown away
_CUT = b"\xfe\xff"  # between the packets of an input
_WAIT_S = 20.0
_CLEAN_EVERY = 100  # inputs
_INIT, _VERSION, _STATUS, _EXTENDED_REPLY = 1, 2, 101, 201
_ANSWERS = {_VERSION, _STATUS, 102, 103, 104, 105, _EXTENDED_REPLY}
_MOST_ANSWER_BYTES = 300_000


class DoorRule:
    """The door answers or ends the session; nothing is stored under another name than its rule allows."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sealdrop-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, context: self._failures.append(str(context)))
        self._failures: list[str] = []
        self._inputs = 0
        self._connection: asyncssh.SSHClientConnection | None = None
        structlog.configure(processors=[self._noted], cache_logger_on_first_use=True)
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._spool = Spool(Path(self._folder.name) / "spool")
        self._outside = Path(self._folder.name) / "outside"
        self._outside.write_text("outside")
        self._loop.run_until_complete(self._open())

    def __call__(self, data: bytes) -> None:
        """Send one input, and look at what came of it."""
        self._loop.run_until_complete(self._send(data))
        self._inputs += 1
        if self._inputs % _CLEAN_EVERY == 0:
            self._loop.run_until_complete(self._check_and_clean())
        if self._failures:
            raise Broken(f"an error that nobody has foreseen: {self._failures}")

    async def _open(self) -> None:
        self._spool.prepare()
        self._spool.open_account("acme")
        host_key = Path(self._folder.name) / "host_key"
        make_host_key(host_key)
        access = Access((read_ssh_key(self._key.export_public_key("openssh").decode()),))

        async def accesses(_accounts: Collection[str]) -> dict[str, Access]:
            return {"acme": access}

        async def published(account: str, name: str) -> None:
            """It may be looked at in the drop."""

        few: dict[str, Any] = {"max_file_bytes": 100_000, "max_account_bytes": 1_000_000, "max_account_files": 20}
        settings = DoorSettings(port=0, host_key_file=host_key, max_handles=8, **few)
        self._door = Door(settings, self._spool, accesses=accesses, published=published)
        await self._door.start()

    def _noted(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        """What the door logs: a request that failed by an error of ours is a finding."""
        if event.get("action") in ("door_request_failed", "door_login_failed"):
            self._failures.append(repr(event.get("exc_info") or event))
        raise structlog.DropEvent

    async def _send(self, data: bytes) -> None:
        variant, rest = (data[0], data[1:]) if data else (0, b"")
        try:
            async with asyncio.timeout(_WAIT_S):
                if variant % 4 == 0:
                    await self._to_the_port(rest, variant)
                else:
                    await self._into_a_session(rest, variant)
        except TimeoutError:
            raise Broken(f"nothing came for {_WAIT_S} seconds") from None

    async def _to_the_port(self, rest: bytes, variant: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._door.port)
        greeting = b"" if variant & 0x10 else b"SSH-2.0-fuzz\r\n"
        sent = b"".join(map(_ssh_packet, rest.split(_CUT))) if variant & 0x20 else rest
        with contextlib.suppress(ConnectionError):
            writer.write(greeting + sent)
            await writer.drain()
            writer.write_eof()
            answer = await reader.read()
            if answer and not answer.startswith(b"SSH-2.0-Sealdrop\r\n"):
                raise Broken("another greeting than the door's")
        writer.close()

    async def _into_a_session(self, rest: bytes, variant: int) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncssh.connect(
                "127.0.0.1", self._door.port, username="acme", client_keys=[self._key], known_hosts=None,
                config=None, agent_path=None,
            )  # fmt: skip
        writer, reader, _ = await self._connection.open_session(subsystem="sftp", encoding=None)
        sent = rest if variant & 0x20 else b"".join(map(_sftp_packet, rest.split(_CUT)))
        if not variant & 0x10:
            sent = _sftp_packet(bytes([_INIT]) + struct.pack(">I", 3 + variant // 64)) + sent
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            writer.write(sent)
            writer.write_eof()
        received = await reader.read()
        writer.close()
        await writer.channel.wait_closed()
        _check_answers(received)

    async def _check_and_clean(self) -> None:
        """A good upload works, names are allowed ones, nothing was touched outside; then all that came goes."""
        if self._connection is not None and not self._connection.is_closed():
            sftp = await self._connection.start_sftp_client()
            async with sftp.open("good.csv", asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC) as file:
                await file.write("good")
            sftp.exit()
            await sftp.wait_closed()
        self._look_and_clean()

    def _look_and_clean(self) -> None:
        folders = {self._spool.drop("acme"): {"results"}, self._spool.parts("acme"): set[str]()}
        for folder, known in folders.items():
            for path in folder.iterdir():
                if path.name in known:
                    continue
                if not (is_allowed_name(path.name) and path.is_file()):
                    raise Broken(f"{path.name!r} was stored")
                path.unlink()
        beside = {path.name for path in Path(self._folder.name).iterdir()}
        if beside != {"spool", "outside", "host_key"} or self._outside.read_text() != "outside":
            raise Broken("something outside the spool has changed")


def _check_answers(received: bytes) -> None:
    """Whole packets of known kinds, and no text but such as was written for clients."""
    while received:
        length = int.from_bytes(received[:4], "big")
        packet, received = received[4 : 4 + length], received[4 + length :]
        if not 1 <= length <= _MOST_ANSWER_BYTES or len(packet) < length or packet[0] not in _ANSWERS:
            raise Broken(f"no answer of ours: {packet[:60]!r}")
        if packet[0] == _STATUS:
            text = packet[13 : 13 + int.from_bytes(packet[9:13], "big")].decode()
            if not text.isprintable() or "ncaught" in text or "Errno" in text:
                raise Broken(f"a text that nobody wrote for clients: {text!r}")


def _sftp_packet(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def _ssh_packet(payload: bytes) -> bytes:
    """A packet as it is before keys are there (RFC 4253 §6)."""
    padding = 8 - (len(payload) + 5) % 8 + 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def _request(kind: int, *parts: bytes | int | str) -> bytes:
    """A request of ID 7: numbers of four bytes, and strings with their length."""
    body = bytes([kind]) + struct.pack(">I", 7)
    for part in parts:
        if isinstance(part, int):
            body += struct.pack(">I", part)
        else:
            content = part.encode() if isinstance(part, str) else part
            body += struct.pack(">I", len(content)) + content
    return body


def seeds() -> list[bytes]:
    """Sessions as clients have them, for each way in."""
    first, far = struct.pack(">I", 0), struct.pack(">Q", 2**40)
    write = bytes([6]) + struct.pack(">I", 7) + struct.pack(">I4sQ", 4, first, 0)
    upload = [
        _request(16, "."),
        _request(3, "users.csv", 0x1A, 0),
        write + struct.pack(">I", 4) + b"data",
        _request(200, "fsync@openssh.com", first),
        _request(8, first),
        _request(10, first, 0),
        _request(4, first),
        _request(17, "users.csv"),
    ]
    resumed = [
        _request(3, "users.csv.part", 0x0A, 4, 0o644),
        bytes([6]) + struct.pack(">I", 7) + struct.pack(">I4s", 4, first) + far + struct.pack(">I", 1) + b"x",
        _request(4, first),
        _request(18, "users.csv.part", "users.csv"),
        _request(200, "posix-rename@openssh.com", "users.csv", "other.csv"),
        _request(13, "other.csv"),
    ]
    looked = [
        _request(11, "/results"),
        _request(12, first),
        _request(4, first),
        _request(3, "README.txt", 1, 0),
        bytes([5]) + struct.pack(">I", 7) + struct.pack(">I4sQI", 4, first, 0, 2**32 - 1),
        _request(9, "users.csv", 0xF, 0, 0, 0o777),
        _request(14, "folder", 0),
        _request(20, "a", "b"),
        _request(200, "limits@openssh.com"),
        _request(200, "copy-data", first),
    ]
    found = []
    for number, session in enumerate((upload, resumed, looked)):
        found += [bytes([64 * version + 1 + number]) + _CUT.join(session) for version in range(4)]
        found.append(bytes([0x21]) + b"".join(map(_sftp_packet, session)))
    kexinit = bytes([20]) + bytes(16) + b"".join(
        struct.pack(">I", len(names)) + names
        for names in (
            *(b"curve25519-sha256,kex-strict-c-v00@openssh.com", b"ssh-ed25519"),
            *(b"aes128-gcm@openssh.com",) * 2,
            *(b"hmac-sha2-256",) * 2,
            *(b"none",) * 2,
            *(b"",) * 2,
        )
    ) + bytes(5)  # fmt: skip
    exchange = bytes([30]) + struct.pack(">I", 32) + bytes(range(32))
    service = bytes([5]) + struct.pack(">I", 12) + b"ssh-userauth"
    found.append(bytes([0x20]) + _CUT.join((kexinit, exchange)))
    found.append(bytes([0x20]) + _CUT.join((kexinit, exchange, bytes([21]), service)))
    found.append(bytes([0x00]) + _ssh_packet(kexinit))
    found.append(bytes([0x10]) + b"SSH-1.99-old\r\n")
    return found
