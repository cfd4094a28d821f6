"""One template, its reference and one nursery for all tests here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.power import build_shim, compiler
from tests.crash.round_trip import keep_as_template, refer
from tests.crash.site import Forked, Nursery
from tests.crash.verdict import Stored
from tests.crash.workload import Template, make_template


@dataclass(frozen=True)
class Ground:
    """What a site is made of, and what a round without a death has stored."""

    nursery: Nursery
    template: Template
    reference: dict[str, Stored]
    shim: Path | None


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("crash")
    shim = build_shim(folder) if compiler() is not None else None
    with Nursery(**({} if shim is None else {"LD_PRELOAD": str(shim)})) as nursery:
        template, reference = asyncio.run(_prepared(nursery, folder))
        yield Ground(nursery, template, reference, shim)


async def _prepared(nursery: Nursery, folder: Path) -> tuple[Template, dict[str, Stored]]:
    site = Forked(nursery, await make_template(folder / "fresh"), folder / "reference", None)
    await site.open()
    try:
        reference = await refer(site)
    finally:
        await site.close()
    return keep_as_template(site, folder / "template"), reference
