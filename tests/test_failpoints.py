"""Failpoints: one list of names, held to the code; off unless a process's environment asks for one (docs/adr/0016)."""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import failpoints
from failpoints import PASSED_VARIABLE, POINTS, VARIABLE, FailpointInvalid
from tests.support.workshop import Workshop
from tests.test_architecture import modules

_PASSES = """
import os
import failpoints
failpoints.arm(os.environ)
for _ in range(3):
    failpoints.passing("map.chunk")
    print("passed", flush=True)
"""


@pytest.fixture(autouse=True)
def off_again() -> Iterator[None]:
    yield
    failpoints.arm({})


def passed_by_a_process(**environment: str) -> tuple[int, int]:
    """How often a process that passes a place three times got by, and its exit code."""
    ran = subprocess.run(
        [sys.executable, "-c", _PASSES], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert not environment or "failpoint_armed" in ran.stdout + ran.stderr
    return ran.stdout.count("passed\n"), ran.returncode


def test_each_name_is_passed_at_one_place_and_no_other_is() -> None:
    """FAULTS.md W1."""
    names = [
        argument.value if isinstance(argument, ast.Constant) else ast.dump(argument)
        for _, path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "passing"
        for argument in node.args
        if path.parent.name != "failpoints"
    ]
    assert Counter(names) == Counter(POINTS.keys())
    assert len(POINTS) >= 25


def test_nothing_happens_without_the_environment() -> None:
    assert passed_by_a_process() == (3, 0)


def test_process_dies_at_its_nth_passing_each_time() -> None:
    assert [passed_by_a_process(**{VARIABLE: "map.chunk:2"}) for _ in range(2)] == [(1, -signal.SIGKILL)] * 2
    assert passed_by_a_process(**{VARIABLE: "map.chunk:4"}) == (3, 0)


def test_processes_that_share_a_file_die_once_in_all(tmp_path: Path) -> None:
    passed = tmp_path / "passed"
    shared = {VARIABLE: "map.chunk:5", PASSED_VARIABLE: str(passed)}
    ends = [passed_by_a_process(**shared) for _ in range(3)]
    assert ends == [(3, 0), (1, -signal.SIGKILL), (3, 0)]
    assert passed.read_text() == "map.chunk\n" * 8


@pytest.mark.parametrize(("action", "number"), [("eio", errno.EIO), ("enospc", errno.ENOSPC)])
def test_place_can_fail_as_a_disk_does(action: str, number: int) -> None:
    failpoints.arm({VARIABLE: f"publish.unsynced:1:{action}"})
    failpoints.passing("publish.synced")
    with pytest.raises(OSError, match=os.strerror(number)) as raised:
        failpoints.passing("publish.unsynced")
    assert raised.value.errno == number
    failpoints.passing("publish.unsynced")


@pytest.mark.parametrize("wanted", ["", "nowhere:1", "map.chunk", "map.chunk:0", "map.chunk:x", "map.chunk:1:burn"])
def test_misspelt_failpoint_is_an_error_and_arms_nothing(wanted: str) -> None:
    with pytest.raises(FailpointInvalid, match=VARIABLE):
        failpoints.arm({VARIABLE: wanted})
    failpoints.passing("map.chunk")


def test_check_fails_while_one_is_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest.checks import run_checks

    workshop = Workshop(tmp_path)
    monkeypatch.setenv(VARIABLE, "map.chunk:1")
    assert [finding.verdict for finding in run_checks(workshop.app) if finding.check == "failpoint"] == ["fail"]
    workshop.app.close()
