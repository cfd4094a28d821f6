"""Who gets in, how often they may try, and how long they may stay."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Collection
from pathlib import Path

import asyncssh
import pytest

from ingest.addresses import source_of
from ingest.door import Door, make_host_key
from ingest.ledger.ssh_keys import Access
from ingest.settings import DoorSettings
from ingest.spool import Spool
from tests.door.conftest import OpenSite, Site, door_process, until


async def _greeting(port: int) -> tuple[bytes, asyncio.StreamWriter]:
    """The first line of the server, empty when it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await asyncio.wait_for(reader.readline(), 5), writer
    except ConnectionResetError:
        return b"", writer


async def test_only_public_keys_are_offered(site: Site) -> None:
    """FAULTS S8: no password, no keyboard-interactive, no none."""
    with pytest.raises(asyncssh.PermissionDenied):
        async with site.connect(client_keys=None, password="x"):
            pass
    methods: list[str] = []

    class Client(asyncssh.SSHClient):
        def password_auth_requested(self) -> str:
            methods.append("password")
            return "x"

        def kbdint_auth_requested(self) -> str:
            methods.append("kbdint")
            return ""

    with pytest.raises(asyncssh.PermissionDenied):
        async with site.connect(client_keys=None, client_factory=Client):
            pass
    assert methods == []


async def test_as_many_wrong_keys_as_may_be_tried_end_the_connection(open_site: OpenSite) -> None:
    """FAULTS S7: at most six keys on one connection; the right one as the sixth still works."""
    wrong = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(20)]
    async with open_site() as site:
        right = asyncssh.read_private_key(site.key("acme"))
        async with site.connect(client_keys=[*wrong[:5], right]):
            pass
        with pytest.raises(asyncssh.DisconnectError, match="Too many authentication failures"):
            async with site.connect(client_keys=[*wrong[:6], right]):
                pass


@pytest.mark.parametrize("account", ["nobody", "../acme", "acme/", "", "acme\u200b", "n" * 300, "root"])
async def test_account_that_is_not_there_gets_no_further_than_a_wrong_key(site: Site, account: str) -> None:
    """FAULTS S7, S8: also names that would be paths."""
    with pytest.raises(asyncssh.DisconnectError):
        async with site.connect(account, client_keys=[str(site.key("acme"))]):
            pass
    assert {path.name for path in (site.spool.root / "drops").iterdir()} == {"acme", "globex"}


async def test_name_that_changes_during_a_login_ends_the_connection(site: Site) -> None:
    """FAULTS S8."""

    class Client(asyncssh.SSHClient):
        keys = iter(("stranger", "globex"))

        def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
            self.connection = conn

        def public_key_auth_requested(self) -> str:
            name = next(self.keys)
            if name == "globex":
                self.connection._username = name
            return str(site.key(name))

    with pytest.raises(asyncssh.ProtocolError, match="may not change"):
        async with site.connect(client_keys=None, client_factory=Client):
            pass


class RawLogin(asyncssh.SSHClient):
    """Sends what it likes in the middle of a login."""

    def __init__(self, *packets: tuple[int, bytes]) -> None:
        self._packets = list(packets)

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection = conn

    async def public_key_auth_requested(self) -> None:
        self.connection._auth_complete = True  # or the library would keep back what must wait for the login's end
        while self._packets:
            self.connection.send_packet(*self._packets.pop(0))
        self.connection._auth_complete = False
        await asyncio.Event().wait()  # it has nothing of its own to try


def _login_request(account: str, method: str, rest: bytes = b"") -> tuple[int, bytes]:
    names = (account, "ssh-connection", method)
    return 50, b"".join(len(name).to_bytes(4, "big") + name.encode() for name in names) + rest


@pytest.mark.parametrize(
    ("packets", "said"),
    [
        ([(90, b"\0\0\0\x07session" + bytes(12))], "before authentication was complete"),
        ([(80, b"\0\0\0\x09tcpip-fwd\x01")], "before authentication was complete"),
        ([_login_request("acme", "none"), _login_request("globex", "none")], "may not change"),
        ([_login_request("acme", "none")] * 100, "Too many authentication failures"),
        ([_login_request("acme", "password", b"\0\0\0\0\x01x")] * 100, "Too many authentication failures"),
    ],
    ids=["channel", "forwarding", "names", "none", "password"],
)
async def test_what_comes_before_the_login_is_over_ends_the_connection(
    site: Site, packets: list[tuple[int, bytes]], said: str
) -> None:
    """FAULTS S8: channels before the login (CVE-2018-7749), names that change in a row of requests, requests without
    end by methods that there are not."""
    with pytest.raises(asyncssh.DisconnectError, match=said):
        async with asyncio.timeout(20), site.connect(client_factory=lambda: RawLogin(*packets), client_keys=None):
            pass


async def test_key_of_one_account_does_not_open_another(site: Site) -> None:
    """FAULTS S8."""
    with pytest.raises(asyncssh.PermissionDenied):
        async with site.connect("globex", client_keys=[str(site.key("acme"))]):
            pass


async def test_ledger_that_cannot_be_asked_is_not_a_wrong_key(tmp_path: Path, keys: Path) -> None:
    """A client is told to come back, not that its key is bad, and reads nothing about the cause."""

    async def accesses(_accounts: Collection[str]) -> dict[str, Access]:
        raise RuntimeError("ledger.db is locked")

    async def published(account: str, name: str) -> None:
        """Never called here."""

    make_host_key(tmp_path / "key")
    settings = DoorSettings.model_validate({"port": 0, "host_key_file": tmp_path / "key"})
    door = Door(settings, Spool(tmp_path), accesses=accesses, published=published)
    await door.start()
    with pytest.raises(asyncssh.DisconnectError, match="try again in a few minutes") as caught:
        await asyncssh.connect(
            "127.0.0.1",
            door.port,
            username="acme",
            client_keys=[str(keys / "acme.key")],
            known_hosts=None,
            config=None,
            agent_path=None,
        )
    assert "ledger" not in str(caught.value)
    await door.drain(0)


@pytest.mark.parametrize("limit", ["max_connections", "max_unauthenticated", "max_connections_per_source"])
async def test_connections_too_many_are_closed_before_the_greeting(open_site: OpenSite, limit: str) -> None:
    """FAULTS S6: total, one source, not logged in; a place that is given up is free again."""
    async with open_site(**{limit: 3}) as site:
        inside = [await _greeting(site.door.port) for _ in range(3)]
        assert all(line.startswith(b"SSH-2.0-Sealdrop") for line, _ in inside)
        line, refused = await _greeting(site.door.port)
        assert line == b""
        refused.close()
        for _, writer in inside:
            writer.close()
        await asyncio.sleep(0.1)
        assert (await site.sftp("ls")).code == 0


async def test_upload_works_amid_hundreds_of_silent_connections(open_site: OpenSite) -> None:
    """FAULTS S6: those who never log in leave places for those who have."""
    async with open_site(max_unauthenticated=40, max_connections_per_source=100) as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        silent = [await _greeting(site.door.port) for _ in range(300)]
        assert sum(line != b"" for line, _ in silent) == 40
        async with sftp.open("a", "wb") as file:
            await file.write(b"x")
        assert site.published == [("acme", "a")]
        for _, writer in silent:
            writer.close()


async def test_upload_works_amid_more_connections_than_there_are_descriptors(site: Site) -> None:
    """FAULTS S6: silence, a slow banner, half a key exchange; more than the process may have open (EMFILE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    roomy = {f"max_{name}": 5000 for name in ("connections", "connections_per_source", "unauthenticated")}
    async with (
        door_process(site.folder, "prlimit", "--nofile=1024:1024", "--", **roomy, random_drop_from=5000) as door,
        site.connect(port=door.port, known_hosts=None) as inside,
    ):
        sftp = await inside.start_sftp_client()
        waiting = []
        for number in range(1400):
            with contextlib.suppress(OSError, TimeoutError):  # not even taken by the system
                _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", door.port), 1)
                writer.write((b"", b"SSH-2", b"SSH-2.0-half\r\n\0\0\1\0\x05\x14")[number % 3])
                waiting.append(writer)
            if number % 200 == 199:
                async with sftp.open(f"{number}.csv", "wb") as file:
                    await file.write(b"x")
        assert len(waiting) > 1000
        for writer in waiting:
            writer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(asyncssh.Error, OSError):
                    async with site.connect(port=door.port, known_hosts=None):
                        break
                await asyncio.sleep(0.1)
        assert site.waiting() == {f"{number}.csv" for number in range(199, 1400, 200)}


async def test_login_that_takes_too_long_is_ended(open_site: OpenSite) -> None:
    """FAULTS S6: silence after the greeting."""
    async with open_site(login_timeout_s=0.2) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.door.port)
        await asyncio.wait_for(reader.read(), 3)
        writer.close()


async def test_idle_connection_is_ended_and_a_busy_one_is_not(open_site: OpenSite) -> None:
    """FAULTS S18: requests count, not keepalives; the half upload of an idle client is dropped."""
    async with open_site(idle_timeout_s=0.4) as site, site.connect() as busy, site.connect() as idle:
        requests, silence = await busy.start_sftp_client(), await idle.start_sftp_client()
        await silence.open("a", "wb")
        for _ in range(10):
            await asyncio.sleep(0.1)
            await requests.stat("/")
        await asyncio.wait_for(idle.wait_closed(), 1)
        await until(lambda: not site.parts())
        await requests.stat("/")
        assert site.published == []


def test_sources_are_addresses_and_ipv6_networks() -> None:
    assert source_of("192.0.2.7") == source_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8:1:2::1") == source_of("2001:db8:1:2:ffff::9%eth0") == "2001:db8:1:2::/64"
    assert source_of("2001:db8:1:3::1") != source_of("2001:db8:1:2::1")
