"""Host keys that are rotated, settings that change while clients are connected, ciphers, and what the door says."""

from __future__ import annotations

import asyncio
import os
import struct
from pathlib import Path

import asyncssh
import pytest

from ingest.door import describe_host_key, errors, make_host_key
from ingest.door.algorithms import KEY_EXCHANGES
from ingest.door.handshake import Handshake
from tests.door.conftest import OpenSite, Site, until


async def test_client_learns_the_next_host_key_before_it_is_used(open_site: OpenSite, tmp_path: Path) -> None:
    """FAULTS S21: rotation with two keys; OpenSSH asks for a proof of the new one and remembers it."""
    following = tmp_path / "next_host_key"
    make_host_key(following)
    async with open_site(next_host_key_file=following) as site:
        answer = await site.sftp("ls", extra=["-o", "UpdateHostKeys=yes", "-o", "HashKnownHosts=no"])
        assert answer.code == 0, answer.err
        known = (tmp_path / "known_hosts").read_text()
        assert describe_host_key(following).public_line in known
        assert describe_host_key(tmp_path / "host_key").public_line in known
    following.replace(tmp_path / "host_key")
    async with open_site() as site:
        line = (tmp_path / "known_hosts").read_text().splitlines()[-1]
        assert line.split()[1:] == known.splitlines()[-1].split()[1:]
        assert (await site.sftp("ls")).code == 0


async def test_second_host_key_must_be_as_sound_as_the_first(open_site: OpenSite, tmp_path: Path) -> None:
    """FAULTS S21."""
    with pytest.raises(errors.HostKeyMissing):
        async with open_site(next_host_key_file=tmp_path / "nothing"):
            pass


async def test_old_client_may_have_a_host_key_of_another_kind(open_site: OpenSite, tmp_path: Path) -> None:
    """JSch and others do not know Ed25519: the second key may be ECDSA."""
    asyncssh.generate_private_key("ecdsa-sha2-nistp256").write_private_key(tmp_path / "ecdsa")
    (tmp_path / "ecdsa").chmod(0o600)
    async with open_site(next_host_key_file=tmp_path / "ecdsa") as site:
        line = describe_host_key(tmp_path / "ecdsa").known_hosts_line("127.0.0.1", site.door.port)
        (tmp_path / "known_hosts").write_text(line + "\n")
        assert (await site.sftp("ls", extra=["-o", "HostKeyAlgorithms=ecdsa-sha2-nistp256"])).code == 0


async def test_settings_change_for_those_who_come_and_drop_nobody(open_site: OpenSite) -> None:
    async with open_site() as site, site.connect() as before:
        sftp = await before.start_sftp_client()
        file = await sftp.open("a", "wb")
        changed = site.door._settings.model_copy(update={"max_file_bytes": 10, "max_connections": 2})
        await site.door.reload(changed)
        await file.write(bytes(1000))
        await file.close()
        async with site.connect() as after:
            other = await after.start_sftp_client()
            with pytest.raises(asyncssh.SFTPError, match="at most 10 bytes"):
                await (await other.open("b", "wb", encoding=None)).write(bytes(11))
            assert (await site.sftp("ls")).code != 0  # two are connected
        assert site.published == [("acme", "a")]


async def test_host_key_that_cannot_be_read_leaves_the_door_as_it_was(open_site: OpenSite, tmp_path: Path) -> None:
    async with open_site() as site:
        broken = site.door._settings.model_copy(update={"host_key_file": tmp_path / "nothing", "max_connections": 1})
        with pytest.raises(errors.HostKeyMissing):
            await site.door.reload(broken)
        async with site.connect(), site.connect():
            pass


async def test_two_doors_share_a_port_when_they_are_told_to(open_site: OpenSite) -> None:
    async with open_site(reuse_port=True) as site, open_site(reuse_port=True, port=site.door.port) as other:
        assert other.door.port == site.door.port
        assert (await site.sftp("ls")).code == 0


# --- ciphers


async def test_chacha20_is_offered_where_it_is_allowed(open_site: OpenSite) -> None:
    async with open_site(allow_chacha20=True) as site:
        assert (await site.sftp("ls", extra=["-o", "Ciphers=chacha20-poly1305@openssh.com"])).code == 0


async def test_client_gets_the_best_kind_of_its_ciphers(open_site: OpenSite) -> None:
    """AES-GCM before CTR before chacha20, whatever the client prefers."""
    names = ["chacha20-poly1305@openssh.com", "aes128-ctr", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com"]
    async with open_site(allow_chacha20=True) as site:
        for offered, expected in ((names, names[2]), (names[:2], names[1]), (names[:1], names[0])):
            async with site.connect(encryption_algs=offered) as connection:
                chosen = {connection.get_extra_info(name) for name in ("send_cipher", "recv_cipher")}
            assert chosen == {expected}


async def test_client_that_waits_for_the_server_to_begin_gets_the_whole_list(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.door.port)
    writer.write(b"SSH-2.0-waiting\r\n")
    assert (await reader.readline()).startswith(b"SSH-2.0-Sealdrop")
    head = await asyncio.wait_for(reader.readexactly(6), 10)
    assert head[5] == 20  # SSH_MSG_KEXINIT
    offered = await reader.readexactly(int.from_bytes(head[:4], "big") - 2)
    for cipher in (b"aes128-gcm@openssh.com", b"aes256-ctr"):
        assert cipher in offered
    assert b"zlib" not in offered  # FAULTS S5
    writer.close()


async def test_chacha20_without_strict_key_exchange_is_refused(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS S9: a client that is open to Terrapin gets AES or nothing."""

    class Old(asyncssh.SSHClientConnection):
        def _get_extra_kex_algs(self) -> list[bytes]:
            return [b"ext-info-c"]  # as before 2023: no kex-strict-c-v00@openssh.com

        _strict_kex = property(lambda self: False, lambda self, value: None)  # nor does it know the server's

    monkeypatch.setattr(asyncssh.connection, "SSHClientConnection", Old)
    async with open_site(allow_chacha20=True) as site:
        with pytest.raises(asyncssh.ProtocolError, match="strict key exchange"):
            async with site.connect(encryption_algs=["chacha20-poly1305@openssh.com"]):
                pass
        async with site.connect(encryption_algs=["aes128-gcm@openssh.com"]) as connection:
            await connection.start_sftp_client()


async def test_real_client_has_strict_key_exchange_and_aes_gcm(site: Site) -> None:
    """FAULTS S9: `sftp -vvv` says so; the post-quantum exchange comes first where both have it."""
    answer = await site.sftp("ls", extra=["-vvv"])
    assert "will use strict KEX ordering" in answer.err
    assert "kex: client->server cipher: aes128-gcm@openssh.com" in answer.err
    ours = _key_exchanges_of_the_server(answer.err)
    assert ours[: len(KEY_EXCHANGES)] == list(KEY_EXCHANGES)
    hybrid = [name for name in ours if name.startswith(("mlkem", "sntrup"))]
    assert ours[: len(hybrid)] == hybrid


def _key_exchanges_of_the_server(said: str) -> list[str]:
    """The key exchanges that the server offers, from the client's debug output."""
    _, _, proposal = said.partition("peer server KEXINIT proposal")
    line = next(line for line in proposal.splitlines() if "KEX algorithms: " in line)
    return line.partition("KEX algorithms: ")[2].split(",")


async def test_kex_in_the_middle_of_a_session_goes_on(site: Site) -> None:
    content = os.urandom(3_000_000)
    (site.folder / "a").write_bytes(content)
    assert (await site.sftp("put a", extra=["-o", "RekeyLimit=200K"])).code == 0
    assert (site.spool.drop("acme") / "a").read_bytes() == content


# --- before the login


@pytest.mark.parametrize("length", [2**31 - 1, 2**32 - 1, 300_000])
async def test_length_of_gigabytes_before_the_login_ends_the_connection(site: Site, length: int) -> None:
    """FAULTS S4: nothing is kept for a packet that says it is so large."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.door.port)
    writer.write(b"SSH-2.0-x\r\n" + struct.pack(">IB", length, 4) + bytes(1000))
    received = await asyncio.wait_for(reader.read(), 5)
    assert received.startswith(b"SSH-2.0-Sealdrop\r\n")
    writer.close()
    assert (await site.sftp("ls")).code == 0


async def test_length_of_an_sftp_packet_after_the_login_is_bounded_too(site: Site) -> None:
    """FAULTS S4: the session ends at the length, before any of the packet has come."""
    async with site.connect() as connection:
        writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None)
        writer.write(struct.pack(">I", 5 * 1024 * 1024))
        assert await asyncio.wait_for(reader.read(), 5) == b""


# --- storage that hangs


async def test_storage_of_one_account_that_hangs_stops_no_other(site: Site) -> None:
    """FAULTS S20: forty requests wait for a lock that is not given up, and another account uploads."""
    connections = [await site.connect().__aenter__() for _ in range(10)]
    try:
        clients = [await connection.start_sftp_client() for connection in connections for _ in range(4)]
        with site.spool.locked("acme"):
            waiting = [asyncio.ensure_future(_opened(sftp, f"f{n}")) for n, sftp in enumerate(clients)]
            await asyncio.sleep(0.1)
            assert not any(task.done() for task in waiting)
            async with site.connect("globex") as other:
                sftp = await other.start_sftp_client()
                async with sftp.open("a", "wb") as file:
                    await file.write(b"x")
        await asyncio.wait_for(asyncio.gather(*waiting), 20)
        assert site.published == [("globex", "a")]
    finally:
        for connection in connections:
            connection.abort()
    await until(lambda: site.parts() == [])


async def _opened(sftp: asyncssh.SFTPClient, name: str) -> asyncssh.SFTPClientFile:
    return await sftp.open(name, "wb")


# --- words


async def test_readme_says_how_to_send_with_the_limits_of_this_door(open_site: OpenSite) -> None:
    async with open_site(max_file_bytes=5_000_000, max_account_files=77) as site:
        answer = await site.sftp("ls", "get README.txt", "ls -l README.txt")
        assert answer.code == 0, answer.err
        text = (site.folder / "README.txt").read_text()
        for words in ("drop of acme", "5 MB (5,000,000 bytes)", "77 files", "reput", "24 hours", "users.manifest"):
            assert words in text
        assert str(len(text)) in answer.out
        assert "-r--------" in answer.out


@pytest.mark.parametrize("command", ["rm README.txt", "rename README.txt x", "rename a README.txt", "put a README.txt"])
async def test_readme_is_the_doors_own(site: Site, command: str) -> None:
    (site.folder / "a").write_text("x")
    answer = await site.sftp("put a", command)
    assert answer.code == 1
    assert "README.txt is this server's own" in answer.err
    assert site.waiting() == {"a"}


async def test_banner_says_the_limits_to_those_who_want_one(open_site: OpenSite) -> None:
    async with open_site(banner=True, max_file_bytes=5_000_000) as site:
        assert "one file at most 5 MB (5,000,000 bytes)" in (await site.sftp("ls")).err
    async with open_site() as site:
        assert (await site.sftp("ls")).err == ""


async def test_results_come_newest_first(site: Site) -> None:
    for age, name in enumerate(("c.manifest.3.json", "a.manifest.2.json", "b.manifest.1.json")):
        site.spool.write_result("acme", name, b"{}")
        os.utime(site.spool.results("acme") / name, (1_000_000 - age,) * 2)
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        listed = [name async for name in _names(sftp)]
    assert listed == ["c.manifest.3.json", "a.manifest.2.json", "b.manifest.1.json"]


async def _names(sftp: asyncssh.SFTPClient):  # type: ignore[no-untyped-def]
    async for entry in sftp.scandir("/results"):
        if str(entry.filename) not in (".", ".."):
            yield str(entry.filename)


def test_seams_of_the_library_that_the_handshake_overrides_are_there() -> None:
    for name in (
        "_validate_openssh_certificate",
        "validate_public_key",
        "reload_config",
        "_send_kexinit",
        "_process_kexinit",
    ):
        assert callable(getattr(asyncssh.SSHServerConnection, name))
        assert name in vars(Handshake)
    for name in ("connection_made", "data_received", "eof_received", "connection_lost", "send_packet"):
        assert callable(getattr(asyncssh.SSHServerConnection, name))
        assert name in vars(Handshake)
