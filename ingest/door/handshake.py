"""The library's side of one connection up to the login, with its seams closed.

Every try at a login is counted and answered in a time that tells nothing (FAULTS.md S7), certificates are judged as a
whole, signatures are taken in the algorithms that we offer only, and the address of a client behind a TCP balancer
comes from the PROXY protocol. The options that the library re-reads for every login are as they were: nothing in them
depends on the account.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import asyncssh
from asyncssh import SSHKey, SSHServerConnection
from asyncssh.constants import MSG_IGNORE, MSG_KEXINIT
from asyncssh.packet import PacketDecodeError, SSHPacket, SSHPacketLogger
from asyncssh.public_key import SSHOpenSSHCertificate

from ingest.addresses import Addresses
from ingest.door.algorithms import CHACHA20, SIGNATURES, preferred_ciphers
from ingest.door.proxy_protocol import ProxyHeaderInvalid, read_proxy_header
from ingest.door.quiet import Quiet

_SIGNATURES = frozenset(name.encode() for name in SIGNATURES)
_REFUSAL_S = 0.02  # a refusal takes this or, when it was busy, two, four, ... times this, and a bit for each name
_CLIENT_FIRST_S = 1.0
_PARTING_S = 1.0
_SECRET = secrets.token_bytes(16)


class Judge(Protocol):
    """Who decides about a connection's tries to log in."""

    def trying(self) -> None:
        """A key or a certificate is about to be tried; raises ``DisconnectError`` when that is one too many."""

    def refused(self) -> None:
        """It was refused; raises ``DisconnectError`` when no further one is waited for."""

    def answered(self) -> None:
        """A request of any method is about to be refused; raises ``DisconnectError`` when that is one too many."""

    async def validate_certificate(self, username: str, certificate: SSHOpenSSHCertificate) -> bool:
        """Whether a certificate opens the account now."""


class Handshake(Quiet, SSHServerConnection):
    """One connection as the library runs it; behind one of ``balancers`` it begins with a PROXY header."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: asyncssh.SSHServerConnectionOptions,
        *,
        balancers: Addresses,
        on_bad_header: Callable[[str], None],
    ) -> None:
        super().__init__(loop, options)
        self._balancers = balancers
        self._on_bad_header = on_bad_header
        self._awaited: asyncio.Transport | None = None  # until the PROXY header is there
        self._header = b""
        self._has_offered = False

    # --- PROXY protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin at once, or wait for the PROXY header first."""
        peer = transport.get_extra_info("peername") or ("",)
        if not self._balancers.matches(str(peer[0])):
            super().connection_made(transport)
            return
        self._awaited = cast("asyncio.Transport", transport)
        self._loop.call_later(self._options.login_timeout, self._header_is_late)

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Take the PROXY header off, if one is awaited; all else is the library's."""
        if self._awaited is None:
            super().data_received(data, datatype)
            return
        self._header += data
        transport = self._awaited
        try:
            header = read_proxy_header(self._header)
        except ProxyHeaderInvalid as invalid:
            self._on_bad_header(str(invalid))
            transport.abort()
            return
        if header is None:
            return
        rest, self._header, self._awaited = self._header[header.length :], b"", None
        seen = transport if header.client is None else _Forwarded(transport, header.client)
        super().connection_made(cast("asyncio.BaseTransport", seen))
        if rest:
            super().data_received(rest)

    def send_packet(self, pkttype: int, *args: bytes, handler: SSHPacketLogger | None = None) -> None:
        """Send a packet; the empty ones that the library puts before each, against a weakness of CBC, are left out."""
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)

    def eof_received(self) -> None:
        """The other side has ended."""
        if self._awaited is None:
            super().eof_received()

    def connection_lost(self, exc: Exception | None = None) -> None:
        """The connection is over; there is nothing to end when it never began."""
        if self._awaited is None:
            super().connection_lost(exc)

    def disconnect(self, code: int, reason: str, lang: str = "") -> None:
        """End the connection, and let the other side hear why.

        The library closes the sessions first, at which clients leave without listening, and then hangs up at once, so
        that what is on its way to us makes the system throw the words away.
        """
        self._send_disconnect(code, reason, lang)
        transport, self._transport = self._transport, None
        if transport is not None:
            _Parting(self._loop, transport)
            self._loop.call_soon(self._cleanup, None)

    def _header_is_late(self) -> None:
        if self._awaited is not None:
            self._awaited.abort()

    # --- key exchange

    def _send_kexinit(self) -> None:
        # the client's preference decides (RFC 4253 §7.1), and OpenSSH's has CTR before GCM: hear it, then offer what we
        # like best of it; a client that waits for us to begin gets the whole list
        if self._has_offered:
            super()._send_kexinit()
        else:
            self._loop.call_later(_CLIENT_FIRST_S, self._offer)

    def _offer(self) -> None:
        if not self._has_offered and self._transport is not None:
            self._has_offered = True
            super()._send_kexinit()

    async def _process_kexinit(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        if not self._has_offered:
            self._enc_algs = preferred_ciphers(self._enc_algs, _ciphers_of(packet))
            self._offer()
        await super()._process_kexinit(pkttype, pktid, packet)

    # --- logging in

    def is_open_to_terrapin(self) -> bool:
        """Whether packets could be cut off unseen: chacha20-poly1305 without strict key exchange (CVE-2023-48795)."""
        ciphers = (self.get_extra_info("recv_cipher"), self.get_extra_info("send_cipher"))
        return CHACHA20 in ciphers and not self._strict_kex

    async def reload_config(self) -> None:
        """Nothing: there is no configuration file, and options that are read again are memory for each connection."""

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Whether a key or certificate opens the account and, when there is a signature, whether it is right.

        Each try is counted, also with what cannot be read as a key.
        """
        judge = cast("Judge", self._owner)
        began = self._loop.time()
        judge.trying()
        allowed = not msg or _algorithm(signature) in _SIGNATURES
        if allowed and await super().validate_public_key(username, key_data, msg, signature):
            return True
        await asyncio.sleep(_padding_s(username, self._loop.time() - began))
        judge.refused()
        return False

    def send_userauth_failure(self, partial_success: bool) -> None:  # noqa: FBT001  # the library's own shape
        """Refuse a request; without an end, a client could ask for passwords and for nothing as fast as it can send."""
        cast("Judge", self._owner).answered()
        super().send_userauth_failure(partial_success)

    async def _validate_openssh_certificate(self, username: str, cert: SSHOpenSSHCertificate) -> SSHKey | None:
        if not await cast("Judge", self._owner).validate_certificate(username, cert):
            return None
        cert.key.set_touch_required(True)
        return cert.key


# the library finds its handlers in a table and not by their names
Handshake._packet_handlers = {**SSHServerConnection._packet_handlers, MSG_KEXINIT: Handshake._process_kexinit}


class _Parting(asyncio.Protocol):
    """Takes a connection over that is at its end: hears nothing, and hangs up when the other side has, or soon."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        transport.set_protocol(self)
        self._hanging_up = loop.call_later(_PARTING_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        del exc
        self._hanging_up.cancel()


class _Forwarded:
    """A balancer's transport that gives the client's address for its own."""

    def __init__(self, transport: asyncio.Transport, client: tuple[str, int]) -> None:
        self._transport = transport
        self._client = client

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._client if name == "peername" else self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _ciphers_of(kexinit: SSHPacket) -> Sequence[bytes]:
    """The ciphers that a client offers for what it sends (RFC 4253 §7.1); the packet stays as it is."""
    packet = SSHPacket(kexinit.get_full_payload())
    packet.get_bytes(17)  # the packet's type, and the cookie
    packet.get_namelist()  # key exchanges
    packet.get_namelist()  # host keys
    return packet.get_namelist()


def _algorithm(signature: bytes) -> bytes:
    """The algorithm that a signature says it is in (RFC 4253 §6.6)."""
    try:
        return SSHPacket(signature).get_string()
    except PacketDecodeError:
        return b""


def _padding_s(username: str, spent_s: float) -> float:
    """Seconds to wait before a refusal, so that its time says nothing about what was looked up."""
    digest = hashlib.blake2b(username.encode(), key=_SECRET, digest_size=2).digest()
    step = _REFUSAL_S * (1 + int.from_bytes(digest, "big") / 2**18)
    whole = step
    while whole < spent_s:
        whole *= 2
    return whole - spent_s
