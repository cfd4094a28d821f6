"""A real HTTP API on a free port, with endpoints that say what they were given."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.app import App
from ingest.http.data_routes import data_routes
from ingest.http.problems import Problem
from ingest.http.scopes import Scope
from ingest.http.server import HttpApi
from ingest.http.settings import HttpSettings
from ingest.installation import Choices, initialise
from ingest.keyset_custody import export_request_keyset, make_request_keyset
from ingest.ledger.api_access import Credential, HpkeRules
from ingest.ledger.audit import lines
from ingest.settings import load_settings
from ingest.uploads.intake import Intake
from keystore.hpke import Kem
from keystore.passcode import make_passcode, verifier_of
from keystore.tink_keyset import OutputPrefix
from tests.hpke import oracle
from tests.http.certificates import Authority
from tests.http.data_desk import DataDesk, another, data_desk

WAIT_S = 60.0
KEEP = timedelta(days=30)
HPKE = "application/octet-stream+hpke"
TINK = oracle.TEMPLATES[Kem.X25519, OutputPrefix.TINK]
WORKING = HpkeRules(enabled=True, entitled=True, enforced=False)


class Site:
    """A served installation with the account ``acme``; the clock is set by hand."""

    def __init__(self, app: App, folder: Path, authority: Authority) -> None:
        self.app = app
        self.folder = folder
        self.authority = authority
        self.now = datetime.now(UTC)
        self.gate = asyncio.Event()
        self.running = 0
        self.api: HttpApi

    @property
    def port(self) -> int:
        assert self.api.port is not None
        return self.api.port

    def credential(self, account: str = "acme", *scopes: Scope) -> str:
        """A new credential's passcode, with all scopes unless some are given."""
        passcode = make_passcode()
        names = tuple(scope.value for scope in scopes or Scope)
        stored = Credential(passcode.credential_id, account, names, verifier_of(passcode.text), self.now)
        self.app.api_accesses.add_credential(stored, actor="test")
        return passcode.text

    def client(self, passcode: str | None = None, account: str = "acme", **options: Any) -> httpx.AsyncClient:
        """A client that logs in with the passcode, over TLS when the site has it."""
        tls = self.app.settings.http.certificate_file is not None
        headers = {"X-Account-Id": account, "X-Passcode": passcode} if passcode else {}
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        return httpx.AsyncClient(base_url=url, headers=headers, verify=context, timeout=WAIT_S, **options)

    def hpke(self, rules: HpkeRules = WORKING, account: str = "acme") -> None:
        self.app.api_accesses.set_hpke(account, rules, now=self.now, actor="test")

    def sealer(self, account: str = "acme") -> Callable[[bytes], bytes]:
        """What encrypts requests as a customer does, with Tink, to the keyset that we hand out."""
        if self.app.keysets.primary(account, "request") is None:
            make_request_keyset(self.app, account, rotate=False, keep_former=KEEP, actor="test")
        public = oracle.read_public(export_request_keyset(self.app, account, actor="test").as_json())
        return lambda plain: oracle.seal(public, plain, account)

    def audited(self, action: str) -> list[tuple[str | None, str, str]]:
        with self.app.database.read() as connection:
            return [(one.account, one.subject, one.outcome) for one in lines(connection) if one.action == action]

    def actors(self, action: str) -> list[str]:
        with self.app.database.read() as connection:
            return [one.actor for one in lines(connection) if one.action == action]

    async def raw(self, *parts: bytes) -> bytes:
        """What the server sends back for these bytes over a plain connection, until it hangs up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            async with asyncio.timeout(WAIT_S):
                return await reader.read()
        finally:
            writer.close()

    async def first(self, *parts: bytes) -> tuple[int, Any]:
        """Status and JSON of the first answer to these bytes over a plain connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
            async with asyncio.timeout(WAIT_S):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].partition("\r")[0])
                return int(head.split(" ", 2)[1]), json.loads(await reader.readexactly(length))
        finally:
            writer.close()

    def routes(self) -> list[Route]:
        return [
            Route("/1/upload", self._echo, methods=["POST"]),
            Route("/1/profile.json", self._echo, methods=["GET"]),
            Route("/1/events.json", self._wait, methods=["GET", "POST"]),
        ]

    async def _echo(self, request: Request) -> Response:
        body = await request.body()
        if b"refuse" in body:
            raise Problem(400, 512, "The body is not as it should be.")
        if b"break" in body:
            raise ValueError(body.decode())
        return JSONResponse(
            {
                "status": "success",
                "account": request.state.account,
                "body": body.decode(),
                "type": request.headers.get("content-type"),
                "query": dict(request.query_params),
            }
        )

    async def _wait(self, _request: Request) -> Response:
        self.running += 1
        await self.gate.wait()
        return JSONResponse({"status": "success"})


OpenSite = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Authority]:
    folder = tmp_path_factory.mktemp("http") / "installation"
    with closing(App(initialise(folder, Choices(host="127.0.0.1", port=2222, mail_host="", mail_port=587)))) as app:
        for account in ("acme", "globex"):
            app.accounts.add(account, now=datetime.now(UTC), actor="test")
    authority = Authority("servers")
    authority.server(folder)
    return folder, authority


@pytest.fixture
def open_site(installed: tuple[Path, Authority], tmp_path: Path) -> OpenSite:
    """Serve a fresh installation with these settings: over TLS, or with ``plain`` without.

    The endpoints say what they were given, unless they are to be the real ones of the ``data``.
    """

    @asynccontextmanager
    async def opened(
        *, plain: bool = False, data: bool = False, routes: Sequence[Route] | None = None, **given: Any
    ) -> AsyncIterator[Site]:
        original, authority = installed
        folder = tmp_path / "installation"
        if not folder.exists():
            shutil.copytree(original, folder)
        tls = {"certificate_file": folder / "server.pem", "key_file": folder / "server.key"}
        http = HttpSettings(
            **{"port": 0, "refresh_s": 1e-6, "drain_s": 1, **({"allow_plain": True} if plain else tls), **given}
        )
        settings = load_settings(folder / "sealdrop.toml").model_copy(update={"http": http})
        with closing(App(settings, now=lambda: site.now)) as app:
            site = Site(app, folder, authority)
            intake = Intake(settings.uploads, app.batches)
            given_routes = data_routes(app, intake) if data else routes
            site.api = HttpApi(app, site.routes() if given_routes is None else given_routes)
            async with site.api.running():
                yield site
            await intake.close()
            site.gate.set()

    return opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataDesk]:
    """A customer at the data endpoints, who may have anything by now."""
    with data_desk(tmp_path_factory.mktemp("shared")) as desk:
        yield desk


@pytest.fixture
def desk(shared: DataDesk) -> Iterator[DataDesk]:
    """One who has nothing yet."""
    with another(shared) as made:
        yield made


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, looking every few milliseconds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # it is about a thread, or a peer
            await asyncio.sleep(0.005)


def code_of(response: httpx.Response) -> tuple[int, object]:
    """Status and code of a failure, which has the one shape."""
    answer = response.json()
    assert answer["status"] == "fail"
    assert answer["error"]
    return response.status_code, answer["code"]


def json_in(answer: bytes) -> Any:
    """The JSON at the end of a raw answer."""
    return json.loads(answer.rpartition(b"\r\n\r\n")[2])
