"""Who is kept out, and who is sent away: floods, failures, slow uploads, and clients behind a balancer."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import socket
from ipaddress import ip_address

import asyncssh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.door.counts import Counts
from ingest.door.occupancy import Occupancy
from ingest.door.penalties import Misdeed
from ingest.door.proxy_protocol import ProxyHeader, ProxyHeaderInvalid, read_proxy_header
from ingest.ledger.ssh_keys import Access
from ingest.settings import DoorSettings
from tests.door.conftest import OpenSite, Site, until
from tests.door.test_login import _greeting


async def test_source_that_fails_to_log_in_is_shut_out_and_others_are_not(open_site: OpenSite) -> None:
    """FAULTS S7: after a few connections with wrong keys; who is inside stays inside."""
    async with open_site(penalty_exempt="") as site, site.connect() as inside:
        sftp = await inside.start_sftp_client()
        said = [(await site.sftp("ls", key=site.key("stranger"))).err for _ in range(6)]
        assert "Permission denied" in said[0]
        assert "Permission denied" not in said[-1]
        line, writer = await _greeting(site.door.port)
        writer.close()
        assert line == b""
        await sftp.stat("/")


async def test_exempt_source_is_not_shut_out(site: Site) -> None:
    """FAULTS S7: by default this machine's own addresses, behind which a balancer may stand."""
    for _ in range(5):
        assert (await site.sftp("ls", key=site.key("stranger"))).code == 255
    assert (await site.sftp("ls")).code == 0


async def test_connections_that_never_log_in_are_held_against_their_source(open_site: OpenSite) -> None:
    """FAULTS S6: silence until the timeout counts for more than a port that was only looked at."""
    async with open_site(penalty_exempt="", login_timeout_s=0.2) as site:
        silent = [await asyncio.open_connection("127.0.0.1", site.door.port) for _ in range(2)]
        for reader, writer in silent:
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
        await until(lambda: not site.door._occupancy.connections)
        line, writer = await _greeting(site.door.port)
        writer.close()
        assert line == b""


class _Someone(asyncssh.SSHServerConnection):
    """A connection as the count sees it: something that can be told from others."""

    def __init__(self) -> None:
        """None of the library's."""


def test_chance_drops_the_more_the_nearer_the_limit_is() -> None:
    """FAULTS S6: MaxStartups 20:30:50; nobody is dropped below, nearly all just below the limit, all at it."""
    chance = random.Random(6)
    limits = DoorSettings(random_drop_from=20, max_unauthenticated=50, max_connections_per_source=1000)
    reached: dict[int, list[bool]] = {}
    for _ in range(300):
        occupancy = Occupancy(limits, Counts(), chance=chance.random)
        for _ in range(80):
            waiting = len(occupancy.connections)
            refusal = occupancy.enter(_Someone(), "192.0.2.7")
            reached.setdefault(waiting, []).append(refusal is None)
            assert refusal in (None, "random_drop_from", "max_unauthenticated")
    assert all(all(entered) for waiting, entered in reached.items() if waiting < 20)
    share = {waiting: sum(entered) / len(entered) for waiting, entered in reached.items()}
    assert 0.6 < share[20] < 0.8
    assert 0.2 < share[40] < 0.5
    assert share.get(50, 0) == 0


def test_those_who_have_logged_in_do_not_count_for_the_early_drop() -> None:
    limits = DoorSettings(random_drop_from=2, max_unauthenticated=3, max_connections_per_source=100)
    occupancy = Occupancy(limits, Counts(), chance=lambda: 0.0)
    for _ in range(15):
        inside = _Someone()
        assert occupancy.enter(inside, "192.0.2.7") is None
        assert occupancy.log_in(inside, "acme")
    assert [occupancy.enter(_Someone(), "192.0.2.7") for _ in range(3)] == [None, None, "random_drop_from"]


def test_descriptors_are_kept_for_those_who_are_inside() -> None:
    """FAULTS S6: connections are refused while there are descriptors left for uploads."""
    occupancy = Occupancy(DoorSettings(), Counts())
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert occupancy.enter(_Someone(), "192.0.2.7", most - 1) == "descriptors"
    assert occupancy.enter(_Someone(), "192.0.2.7", 10) is None


def test_refused_connection_is_not_held_against_its_source() -> None:
    occupancy = Occupancy(DoorSettings(max_connections=1, penalty_exempt=""), Counts())
    assert occupancy.enter(_Someone(), "192.0.2.7") is None
    for _ in range(50):
        refused = _Someone()
        assert occupancy.enter(refused, "192.0.2.8") == "max_connections"
        assert not occupancy.leave(refused, Misdeed.WRONG_KEY)


def test_login_too_many_is_not_held_against_its_source() -> None:
    occupancy = Occupancy(DoorSettings(max_connections_per_account=1, penalty_exempt=""), Counts())
    inside = _Someone()
    occupancy.enter(inside, "192.0.2.7")
    assert occupancy.log_in(inside, "acme")
    for _ in range(50):
        late = _Someone()
        assert occupancy.enter(late, "192.0.2.7") is None
        assert not occupancy.log_in(late, "acme")
        assert not occupancy.leave(late, Misdeed.WRONG_KEY)


async def test_connections_of_an_account_are_bounded(open_site: OpenSite) -> None:
    """FAULTS S18: the one too many is told the limit, and another account is not concerned."""
    async with open_site(max_connections_per_account=2) as site, site.connect() as one, site.connect():
        third = await site.sftp("ls")
        assert third.code == 255
        assert "2 connections of this account are open" in third.err
        async with site.connect("globex"):
            pass
        one.close()
        await one.wait_closed()
        assert (await site.sftp("ls")).code == 0


async def test_upload_that_hardly_moves_is_ended_and_kept(open_site: OpenSite) -> None:
    """FAULTS S18: one byte now and then; requests alone keep no upload open."""
    async with open_site(stall_timeout_s=0.3, min_upload_bytes_per_s=1000) as site, site.connect() as slow:
        sftp = await slow.start_sftp_client()
        file = await sftp.open("a", "wb")

        async def trickle() -> None:
            for place in range(10_000):
                await file.write(b"x", place)
                await asyncio.sleep(0.01)

        with pytest.raises((asyncssh.SFTPError, asyncssh.DisconnectError, OSError)):
            await asyncio.wait_for(trickle(), 10)
        await until(lambda: "a" in site.unfinished())
        assert site.published == []


async def test_upload_that_moves_and_a_session_without_one_stay(open_site: OpenSite) -> None:
    async with open_site(stall_timeout_s=0.1, min_upload_bytes_per_s=1000) as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("a", "wb") as file:
            for place in range(60):
                await file.write(bytes(1000), place * 1000)
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert (await sftp.stat("a")).size == 60_000


# --- behind a balancer


def _header(address: str, port: int = 4711, *, command: int = 0x21, extra: bytes = b"") -> bytes:
    packed = ip_address(address).packed
    family = 0x11 if len(packed) == 4 else 0x21
    body = packed + packed + port.to_bytes(2, "big") + b"\x08\xae" + extra
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("extra", [b"", b"\x04\0\x03abc"])
def test_header_says_where_the_client_is(address: str, extra: bytes) -> None:
    header = _header(address, extra=extra)
    for end in range(len(header)):
        assert read_proxy_header(header[:end]) is None
    assert read_proxy_header(header + b"SSH-2.0-x\r\n") == ProxyHeader((address, 4711), len(header))


def test_balancers_own_connection_has_no_client() -> None:
    assert read_proxy_header(_header("192.0.2.7", command=0x20)) == ProxyHeader(None, 28)


@pytest.mark.parametrize(
    "received",
    [
        b"SSH-2.0-client\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 2222\r\n",
        _header("192.0.2.7", command=0x31),
        _header("192.0.2.7", command=0x22),
        _header("192.0.2.7").replace(b"\x21\x11", b"\x21\x12"),
        _header("192.0.2.7").replace(b"\x21\x11", b"\x21\x00"),
        _header("192.0.2.7").replace(b"\x21\x11\x00\x0c", b"\x21\x11\x00\x04"),
        _header("192.0.2.7", extra=bytes(1000)),
    ],
)
def test_what_is_no_header_is_refused(received: bytes) -> None:
    with pytest.raises(ProxyHeaderInvalid):
        read_proxy_header(received)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_a_header_or_refused_or_not_all_there(received: bytes, genuine: bool) -> None:
    """FAULTS S25: before the first byte of SSH."""
    content = _header("192.0.2.7")[:16] + received if genuine else received
    try:
        header = read_proxy_header(content)
    except ProxyHeaderInvalid:
        return
    assert header is None or header.length <= len(content)


async def _through_balancer(site: Site, header: bytes) -> asyncssh.SSHClientConnection:
    """A client's connection that begins with a balancer's header."""
    connection = socket.create_connection(("127.0.0.1", site.door.port))
    try:
        connection.sendall(header)
        return await asyncssh.connect(
            sock=connection,
            username="acme",
            client_keys=[str(site.key("acme"))],
            known_hosts=None,
            config=None,
            agent_path=None,
        )
    except BaseException:
        connection.close()
        raise


async def test_account_is_bound_to_the_address_that_the_balancer_tells(open_site: OpenSite) -> None:
    """FAULTS S7: addresses come from the header, and only a listed balancer's header is believed."""
    async with open_site(proxy_from="127.0.0.1") as site:
        site.accesses["acme"] = Access(site.accesses["acme"].keys, "192.0.2.0/24")
        async with await _through_balancer(site, _header("192.0.2.7")) as connection:
            await connection.start_sftp_client()
        with pytest.raises(asyncssh.PermissionDenied):
            await _through_balancer(site, _header("198.51.100.7"))
        with pytest.raises(asyncssh.PermissionDenied):  # a connection of the balancer's own
            await _through_balancer(site, _header("192.0.2.7", command=0x20))


async def test_header_of_one_who_is_no_balancer_is_not_read(open_site: OpenSite) -> None:
    """FAULTS S7: no client can choose its address."""
    async with open_site(proxy_from="192.0.2.1") as site:
        site.accesses["acme"] = Access(site.accesses["acme"].keys, "192.0.2.0/24")
        with pytest.raises((asyncssh.Error, OSError)):
            await _through_balancer(site, _header("192.0.2.7"))


async def test_balancer_without_a_header_is_hung_up_on(open_site: OpenSite) -> None:
    async with open_site(proxy_from="127.0.0.1", login_timeout_s=0.3) as site:
        for sent in (b"SSH-2.0-client\r\n", b"", _header("192.0.2.7")[:20]):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.door.port)
            writer.write(sent)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
