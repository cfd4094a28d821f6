"""TLS: versions, certificates that change, client certificates, and the plain port."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.client_authorities import AuthorityRejected, read_authority
from ingest.http.errors import TlsUnusable
from ingest.http.settings import HttpSettings
from ingest.http.tls import server_context
from tests.http.certificates import Authority
from tests.http.conftest import OpenSite, Site, code_of, until


async def handshake(site: Site, **options: Any) -> tuple[str, str]:
    """Version and cipher that a client with these options gets."""

    def shaken() -> tuple[str, str]:
        context = ssl.create_default_context(cadata=site.authority.pem.decode())
        for name, value in options.items():
            getattr(context, name)(value) if callable(getattr(context, name)) else setattr(context, name, value)
        plain = socket.create_connection(("127.0.0.1", site.port))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted:
            cipher = encrypted.cipher()
            assert cipher is not None
            return str(encrypted.version()), cipher[0]

    return await asyncio.to_thread(shaken)


async def test_tls_1_3_only_unless_1_2_is_chosen(open_site: OpenSite) -> None:
    old = {"maximum_version": ssl.TLSVersion.TLSv1_2}
    async with open_site() as site:
        assert (await handshake(site))[0] == "TLSv1.3"
        with pytest.raises(ssl.SSLError):
            await handshake(site, **old)
    async with open_site(min_tls="1.2") as site:
        version, cipher = await handshake(site, **old)
        assert version == "TLSv1.2"
        assert cipher.startswith("ECDHE-")
        for weak in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"):
            with pytest.raises(ssl.SSLError):
                await handshake(site, **old, set_ciphers=weak)


async def test_client_that_does_not_speak_tls_is_hung_up_on_and_counted_out(open_site: OpenSite) -> None:
    """FAULTS H11."""
    async with open_site(max_connections=3, header_timeout_s=0.5) as site:
        for _ in range(5):
            assert b"HTTP" not in await site.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(5):
            await site.raw()  # silent until the handshake's time is over
        async with site.client() as client:
            assert (await client.get("/.well-known/jwks.json")).status_code == 200


async def test_answers_over_tls_ask_for_tls_from_now_on(open_site: OpenSite) -> None:
    async with open_site() as site, site.client() as client:
        for path in ("/.well-known/jwks.json", "/nothing"):
            assert (await client.get(path)).headers["strict-transport-security"] == "max-age=63072000"


async def test_plain_port_only_redirects(open_site: OpenSite) -> None:
    async with open_site(redirect_port=0, public_url="https://api.example.com") as site:
        plain = f"http://127.0.0.1:{site.api.redirect_port}"
        async with httpx.AsyncClient() as client:
            for path in ("/1/profile.json?identity=a%26b", "//evil.example/x", "/"):
                answer = await client.get(plain + path)
                assert (answer.status_code, answer.headers["location"]) == (301, "https://api.example.com" + path)
                assert answer.headers["connection"] == "close"
            assert (await client.post(plain + "/1/upload", content=b"{}")).status_code == 301
        reader, writer = await asyncio.open_connection("127.0.0.1", site.api.redirect_port)
        writer.write(b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert b"\r\nlocation: https://api.example.com/\r\n" in (await reader.read()).lower()
        writer.close()


def replaced(file: Path, content: bytes) -> None:
    """A file as a client for ACME replaces it."""
    draft = file.with_suffix(".new")
    draft.write_bytes(content)
    draft.chmod(0o600)
    draft.replace(file)


async def shown(site: Site) -> str:
    """The certificate that a new connection is shown."""
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", site.port))


async def test_certificate_that_changes_is_taken_without_a_restart(
    open_site: OpenSite, capfd: pytest.CaptureFixture[str]
) -> None:
    """Open connections go on; a broken file leaves the old one in use."""
    async with open_site() as site, site.client() as client:
        before = await shown(site)
        assert (await client.get("/.well-known/jwks.json")).status_code == 200
        (site.folder / "fresh").mkdir()
        certificate, key = site.authority.server(site.folder / "fresh")
        replaced(site.folder / "server.pem", b"broken")
        await until(lambda: "tls_not_reloaded" in "".join(capfd.readouterr()))
        assert await shown(site) == before
        replaced(site.folder / "server.key", key.read_bytes())
        replaced(site.folder / "server.pem", certificate.read_bytes())
        async with asyncio.timeout(60):
            while await shown(site) == before:  # noqa: ASYNC110  # the server has to notice
                await asyncio.sleep(0.05)
        assert await shown(site) == certificate.read_text()
        assert (await client.get("/.well-known/jwks.json")).status_code == 200


async def test_reload_takes_what_the_settings_say_now(open_site: OpenSite) -> None:
    async with open_site() as site:
        (site.folder / "fresh").mkdir()
        certificate, key = site.authority.server(site.folder / "fresh")
        files = {"certificate_file": certificate, "key_file": key}
        await site.api.reload(HttpSettings(**files, min_tls="1.2"))
        assert await shown(site) == certificate.read_text()
        assert (await handshake(site, maximum_version=ssl.TLSVersion.TLSv1_2))[0] == "TLSv1.2"
        key.chmod(0o604)
        with pytest.raises(TlsUnusable, match="chmod 600"):
            await site.api.reload(HttpSettings(**files))
        assert await shown(site) == certificate.read_text()


def test_certificate_that_cannot_be_used_is_told_with_its_file(tmp_path: Path) -> None:
    certificate, key = Authority("servers").server(tmp_path)
    other = Authority("servers").server(tmp_path, "other")[1]
    cases = [
        (certificate, tmp_path / "nothing", "cannot be read"),
        (tmp_path / "nothing", key, "no certificate"),
        (certificate, other, "no certificate and its private key"),
        (key, key, "no certificate"),
    ]
    for wrong_certificate, wrong_key, text in cases:
        with pytest.raises(TlsUnusable, match=text):
            server_context(HttpSettings(certificate_file=wrong_certificate, key_file=wrong_key), [])


class Customer:
    """Client certificates of the account that a CA issues them for."""

    def __init__(self, site: Site, account: str, authority: Authority) -> None:
        self.site = site
        self.account = account
        self.authority = authority
        stored = read_authority(authority.pem, site.now)
        site.app.api_accesses.add_authority(account, stored, now=site.now, actor="test")
        self.passcode = site.credential(account)

    def client(self, files: tuple[Path, Path] | None) -> httpx.AsyncClient:
        context = ssl.create_default_context(cadata=self.site.authority.pem.decode())
        if files is not None:
            context.load_cert_chain(*files)
        headers = {"X-Account-Id": self.account, "X-Passcode": self.passcode}
        return httpx.AsyncClient(base_url=f"https://127.0.0.1:{self.site.port}", verify=context, headers=headers)

    async def upload(self, files: tuple[Path, Path] | None) -> httpx.Response:
        async with self.client(files) as client:
            return await client.post("/1/upload")


async def test_account_with_a_ca_needs_a_certificate_by_that_ca(open_site: OpenSite) -> None:
    async with open_site(client_certificates="optional") as site:
        acme, globex = Customer(site, "acme", Authority("acme CA")), Customer(site, "globex", Authority("globex CA"))
        await site.api.reload(site.app.settings.http)
        mine, theirs = (one.authority.client(site.folder, one.account) for one in (acme, globex))
        assert (await acme.upload(mine)).status_code == 200
        assert (await globex.upload(theirs)).status_code == 200
        for wrong in (theirs, None):
            assert code_of(await acme.upload(wrong)) == (401, "auth.certificate")
        strange = Authority("acme CA").client(site.folder, "strange")  # a CA of the same name
        over = acme.authority.client(site.folder, "over", days=-1)
        as_server = acme.authority.server(site.folder, "as-server")
        for files in (strange, over, as_server):
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                await acme.upload(files)


async def test_ca_below_another_is_enough_and_a_sister_is_not(open_site: OpenSite) -> None:
    root = Authority("root")
    async with open_site(client_certificates="optional") as site:
        acme = Customer(site, "acme", Authority("below", issuer=root))
        await site.api.reload(site.app.settings.http)
        assert (await acme.upload(acme.authority.client(site.folder, "mine"))).status_code == 200
        sister = Authority("sister", issuer=root).client(site.folder, "sister")
        with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
            await acme.upload(sister)


async def test_certificate_is_asked_of_everybody_when_it_is_required(open_site: OpenSite) -> None:
    async with open_site(client_certificates="required") as site:
        acme = Customer(site, "acme", Authority("acme CA"))
        await site.api.reload(site.app.settings.http)
        assert (await acme.upload(acme.authority.client(site.folder, "mine"))).status_code == 200
        with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
            await acme.upload(None)


async def test_account_with_a_ca_is_shut_out_where_no_certificate_is_asked_for(open_site: OpenSite) -> None:
    async with open_site() as site:
        acme = Customer(site, "acme", Authority("acme CA"))
        assert code_of(await acme.upload(None)) == (401, "auth.certificate")


async def test_token_is_bound_to_the_certificate_that_got_it(open_site: OpenSite) -> None:
    """RFC 8705 §3."""
    async with open_site(client_certificates="optional") as site:
        acme = Customer(site, "acme", Authority("acme CA"))
        await site.api.reload(site.app.settings.http)
        first, second = (acme.authority.client(site.folder, name) for name in ("first", "second"))
        form = {"grant_type": "client_credentials", "client_id": "acme", "client_secret": acme.passcode}
        async with acme.client(first) as client:
            token = (await client.post("/1/oauth/token", data=form)).json()["access_token"]
        acme.passcode = ""
        for files, expected in ((first, 200), (second, 401)):
            async with acme.client(files) as client:
                del client.headers["X-Passcode"]
                answer = await client.post("/1/upload", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == expected


def test_what_is_no_ca_is_refused_with_a_reason(tmp_path: Path) -> None:
    authority = Authority("ca")
    leaf = authority.client(tmp_path, "leaf")[0].read_bytes()
    for pem, text in ((b"junk", "no certificate"), (leaf, "not one of a CA"), (authority.pem * 2, "one certificate")):
        with pytest.raises(AuthorityRejected, match=text):
            read_authority(pem, datetime.now(UTC))
