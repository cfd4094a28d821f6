"""The rules of the house: who may import whom, and one table for every error (DESIGN.md 3 and 5)."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import ingest.errors
import keystore.errors
import manifests.errors
import stores.errors
from ingest.outcomes import AFTER

ROOT = Path(__file__).parent.parent
PACKAGES = ("failpoints", "manifests", "keystore", "stores", "ingest")
MAY_IMPORT = {
    "failpoints": set[str](),
    "manifests": set[str](),
    "keystore": set[str](),
    "stores": {"failpoints", "manifests"},
    "ingest": {"failpoints", "manifests", "keystore", "stores"},
}
ROOMS = (
    "ingest.steps",
    "ingest.door",
    "ingest.http",
    "ingest.notices",
)  # rooms of ingest that do not import each other
DRAWERS = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, path


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_dependencies_point_one_way() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules()
        for imported in imports_of(path)
        if (package := imported.split(".")[0]) in PACKAGES
        and package != name.split(".")[0]
        and package not in MAY_IMPORT[name.split(".")[0]]
    ]
    assert wrong == []


def test_rooms_of_ingest_do_not_import_each_other() -> None:
    # settling addresses notices: it needs their words and their rule for recipients, nothing else of that room
    allowed = ("ingest.notices.notice", "ingest.notices.recipients")
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules()
        for room in ROOMS
        if name.startswith(room)
        for imported in imports_of(path)
        for other in ROOMS
        if other != room and imported.startswith(other) and not imported.startswith(allowed)
    ]
    assert wrong == []


def test_manifests_does_no_input_or_output() -> None:
    forbidden = {"os", "pathlib", "io", "asyncio", "socket", "time", "subprocess", "threading", "logging", "structlog"}
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules()
        if name.startswith("manifests")
        for imported in imports_of(path) & forbidden
    ]
    assert wrong == []


def test_no_drawer_and_no_file_over_500_lines() -> None:
    for name, path in modules():
        assert name.split(".")[-1] not in DRAWERS, name
        assert len(path.read_text().splitlines()) <= 500, name


def leaves(base: type[Exception]) -> set[type[Exception]]:
    below = [sub for sub in base.__subclasses__() if sub.__module__.split(".")[0] in PACKAGES]
    return {base} if not below else set().union(*(leaves(sub) for sub in below))


@pytest.mark.parametrize(
    "base",
    [
        manifests.errors.ManifestError,
        keystore.errors.KeystoreError,
        stores.errors.StoreError,
        ingest.errors.IngestError,
    ],
)
def test_every_error_has_its_outcome(base: type[Exception]) -> None:
    for package in PACKAGES:  # every module is loaded, so every subclass is known
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if ".migrations" not in module.name:
                importlib.import_module(module.name)
    assert leaves(base) <= AFTER.keys()


def test_codes_of_errors_are_unique() -> None:
    codes = [str(getattr(error, "code", "")) for error in AFTER]
    assert all(codes)
    assert len(set(codes)) == len(codes)
