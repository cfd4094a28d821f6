"""All that SSH can ask for besides sftp, asked for by a real client and refused; the connection goes on.

FAULTS.md S22.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncssh
import pytest
from asyncssh.channel import SSHClientChannel

from tests.door.conftest import Site
from tests.door.test_hostile_requests import _int, _text

_NO = b"\x00"

# name to what comes after it (RFC 4254 §6, and OpenSSH's PROTOCOL)
_OF_A_SESSION = {
    "pty-req": _text(b"xterm") + _int(80) + _int(24) + _int(0) * 2 + _text(b"\0"),
    "x11-req": _NO + _text(b"MIT-MAGIC-COOKIE-1") + _text(b"00" * 16) + _int(0),
    "auth-agent-req@openssh.com": b"",
    "env": _text(b"LD_PRELOAD") + _text(b"/tmp/x.so"),
    "exec": _text(b"id"),
    "shell": b"",
    "subsystem": _text(b"netconf"),
    "no-such-request": b"",
}
_OF_A_CONNECTION = {
    "tcpip-forward": _text(b"127.0.0.1") + _int(0),
    "streamlocal-forward@openssh.com": _text(b"/tmp/sealdrop.sock"),
    "no-such-request": b"",
}
_CHANNELS = {
    "direct-tcpip": _text(b"127.0.0.1") + _int(22) + _text(b"127.0.0.1") + _int(1),
    "direct-streamlocal@openssh.com": _text(b"/run/x") + _text(b"") + _int(0),
    "forwarded-tcpip": _text(b"127.0.0.1") + _int(22) + _text(b"127.0.0.1") + _int(1),
    "tun@openssh.com": _int(1) + _int(0x7FFFFFFF),
    "x11": _text(b"127.0.0.1") + _int(6000),
    "auth-agent@openssh.com": b"",
    "no-such-channel": b"",
}


def _channel(connection: asyncssh.SSHClientConnection) -> SSHClientChannel[bytes]:
    loop = asyncio.get_running_loop()
    return SSHClientChannel(connection, loop, "strict", None, "strict", 1 << 20, 1 << 15)


@asynccontextmanager
async def _beside_an_upload(site: Site) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection with an upload that what is tried beside it must not harm."""
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("a", "wb") as file:
            yield connection
            await file.write(b"x")
    assert site.published == [("acme", "a")]


@pytest.mark.parametrize("request_name", _OF_A_SESSION)
async def test_session_is_refused_all_but_sftp(site: Site, request_name: str) -> None:
    """Asked with a wish for an answer, which is no."""
    async with _beside_an_upload(site) as connection:
        channel = _channel(connection)
        await channel._open(b"session")
        answer = await asyncio.wait_for(
            channel._make_request(request_name.encode(), _OF_A_SESSION[request_name]), timeout=30
        )
        assert answer is False
        channel.abort()


@pytest.mark.parametrize("request_name", _OF_A_CONNECTION)
async def test_connection_is_refused_all_forwarding_to_it(site: Site, request_name: str) -> None:
    async with _beside_an_upload(site) as connection:
        asked = connection._make_global_request(request_name.encode(), _OF_A_CONNECTION[request_name])
        kind, _ = await asyncio.wait_for(asked, 30)
        assert kind == 82  # REQUEST_FAILURE


@pytest.mark.parametrize("kind", _CHANNELS)
async def test_no_channel_but_a_session_is_opened(site: Site, kind: str) -> None:
    async with _beside_an_upload(site) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await asyncio.wait_for(_channel(connection)._open(kind.encode(), _CHANNELS[kind]), 30)


async def test_openssh_forwards_nothing_to_or_through_the_door(site: Site) -> None:
    """Its own words: through a channel as -L, -D and -W open it, and back by -R, from a port and from a socket."""
    with socket.create_server(("127.0.0.1", 0)) as reached:
        port = reached.getsockname()[1]
        reached.setblocking(False)
        through = await site.ssh("-W", f"127.0.0.1:{port}", "")
        assert through.code != 0
        assert "administratively prohibited" in through.err or "open failed" in through.err
        with pytest.raises(BlockingIOError):
            reached.accept()
    back = await site.ssh("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", "")
    assert "remote port forwarding failed" in back.err
    socket_back = await site.ssh("-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{site.folder}/s:127.0.0.1:22", "")
    assert "remote port forwarding failed" in socket_back.err
    assert not (site.folder / "s").exists()
