"""The description of the API is that of the API: schemathesis tries each operation with what it allows and forbids."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from ingest.http.openapi import description
from ingest.http.scopes import SCOPES
from ingest.keyset_custody import make_request_keyset
from tests.http.conftest import KEEP, WAIT_S, OpenSite

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
EXPECTED = Path(__file__).with_name("schemathesis.toml")
ROOMY = {"account_requests_per_s": 10**6, "max_uploads": 1000, "max_reads": 1000}


def test_every_route_is_described_and_nothing_else() -> None:
    paths = description("https://api.example.com")["paths"]
    assert {(path, method.upper()) for path, methods in paths.items() for method in methods} == set(SCOPES)


async def test_schemathesis_finds_nothing(open_site: OpenSite, tmp_path: Path) -> None:
    """FAULTS H11."""
    async with open_site(plain=True, data=True, **ROOMY) as site:
        make_request_keyset(site.app, "acme", rotate=False, keep_former=KEEP, actor="test")
        login = ["-H", "X-Account-Id: acme", "-H", f"X-Passcode: {site.credential()}"]
        options = ["--max-examples", "20", "--seed", "1", "--no-color", "--config-file", str(EXPECTED)]
        url = f"http://127.0.0.1:{site.port}/1/openapi.json"
        command = [str(SCHEMATHESIS), *options[-2:], "run", url, *login, *options[:-2]]
        ran = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(WAIT_S * 5):
            told, _ = await ran.communicate()
    assert ran.returncode == 0, told.decode()
    assert b"Tested: 8" in told
