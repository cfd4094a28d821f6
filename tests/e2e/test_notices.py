"""The running service, its notices, a relay that misbehaves, and what docs/notices.md says to do."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from ingest.ledger.database import Database
from ingest.ledger.tables import notices
from tests.e2e.test_readme import lines_of, shell
from tests.notices.certificates import Authority
from tests.notices.receiver import Receiver, receiving
from tests.notices.relay import message_id
from tests.notices.scripted import Scripted, scripted
from tests.support.served import SEALDROP, Instance, LoopThread, wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "notices.md").read_text()
CSV = "identity,full_name\nuser-1,Ada\n"


def put(instance: Instance, name: str, **manifest: Any) -> None:
    """A file and its manifest, put into the drop behind the door's back."""
    drop = instance.folder / "data" / "spool" / "drops" / "acme"
    content = {"fileName": f"{name}.csv", "type": "profile", "clientEmail": "data@acme.example", **manifest}
    (drop / f"{name}.csv").write_text(CSV)
    (drop / f"{name}.manifest").write_text(json.dumps(content))


class FaultyPost:
    """A relay whose script is changed while the service runs."""

    def __init__(self) -> None:
        self._thread = LoopThread()
        self._running = scripted()
        self.relay: Scripted = self._thread.run(self._running.__aenter__())

    def close(self) -> None:
        self._thread.run(self._running.__aexit__(None, None, None))
        self._thread.close()


@pytest.fixture
def post() -> Iterator[FaultyPost]:
    post = FaultyPost()
    yield post
    post.close()


def test_imports_go_on_and_each_notice_arrives_whatever_the_relay_does(post: FaultyPost, tmp_path: Path) -> None:
    """FAULTS W7: down, 4xx, a hang in DATA, a lost answer, garbage, and SIGKILL of the service as a mail is taken."""
    instance = Instance(
        tmp_path / "installation",
        SEALDROP_WATCH__RESCAN_S="0.2",
        SEALDROP_MAIL__PORT=str(post.relay.port),
        SEALDROP_MAIL__TIMEOUT_S="1",
        SEALDROP_MAIL__ANSWER_TIMEOUT_S="1",
        SEALDROP_MAIL__RETRY_FLOOR_S="0.2",
        SEALDROP_MAIL__RETRY_CEILING_S="3600",  # nobody asks twice for a lost answer while this test runs
    )
    try:
        instance.run("account", "add", "acme", "--contact", "data@acme.example", "--allow-plain")
        instance.start()
        faults = ["drop", "451 4.3.0 later", "garbage", "hang", "drop"]
        for number, (step, how) in enumerate(zip(["connect", "RCPT", "EHLO", "DATA", "."], faults, strict=True), 1):
            post.relay.script = {step: how}
            put(instance, f"users{number}")
            imports = instance.wait_for_imports("acme", number)
            assert {each["state"] for each in imports} == {"succeeded"}
        wait_for(lambda: post.relay.taken or None)  # whose answer is lost

        assert instance.process is not None
        post.relay.script = {}
        post.relay.on_taken = instance.process.kill
        put(instance, "users6")
        instance.process.wait(60)
        post.relay.on_taken = lambda: None
        _let_time_pass(instance)
        instance.start()
        imports = instance.wait_for_imports("acme", 6)
        expected = {f"{each['id']}.{stage}" for each in imports for stage in ("picked_up", "succeeded")}

        def arrived() -> list[str] | None:
            ids = [message_id(envelope) for envelope in post.relay.taken]
            return ids if {".".join(each.strip("<").split(".")[:2]) for each in ids} >= expected else None

        ids = wait_for(arrived)
        assert len(set(ids)) == len(expected)
        assert max(map(ids.count, ids)) <= 2
    finally:
        instance.close()


def _let_time_pass(instance: Instance) -> None:
    """What else took an hour: claims of the process that was killed end, and what waits is due."""
    database = Database(f"sqlite:///{instance.folder / 'data' / 'ledger.db'}")
    with database.write() as connection:
        pending = notices.c.state == "pending"
        connection.execute(update(notices).where(pending).values(next_attempt_at=notices.c.created_at))
    database.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[Receiver, Authority]]:
    authority = Authority(tmp_path / "ca")
    with receiving(authority.server("localhost")) as receiver:
        yield receiver, authority


def test_page_about_notices_does_what_it_says(receiver: tuple[Receiver, Authority], tmp_path: Path) -> None:
    """Every command and program of docs/notices.md, with a served installation and a receiver."""
    server, authority = receiver
    instance = Instance(
        tmp_path / "installation",
        SEALDROP_WATCH__RESCAN_S="0.2",
        SEALDROP_WEBHOOK__ALLOW_NETWORKS="127.0.0.0/8,::1",
        SEALDROP_WEBHOOK__CA_FILE=str(authority.file),
    )
    url = f"https://localhost:{server.port}/sealdrop"
    environment = {
        **instance.environment,
        "HOME": str(tmp_path),
        "PATH": f"{SEALDROP.parent}:{os.environ['PATH']}",
        "CURL_CA_BUNDLE": str(authority.file),
        "URL": url,
    }
    verified = _verifier()

    def run(command: str) -> str:
        command = command.replace("https://hooks.acme.example/sealdrop", url)
        command = re.sub(r"^sealdrop ", f"sealdrop --config {instance.config} ", command)
        ran = shell(command, tmp_path, environment)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    try:
        (add,) = commands_of("Who gets a mail")
        run(f"{add} --allow-plain")
        (set_,) = commands_of("Webhook")
        secret = re.search(r"whsec_\S+", run(set_))
        assert secret is not None
        environment["SECRET"] = secret[0]
        trial, *by_hand = commands_of("Trying it")
        assert "status 204" in run(trial)
        run("\n".join(by_hand))
        instance.start()
        put(instance, "users")
        instance.wait_for_imports("acme", 1)
        wait_for(lambda: server.posted if len(server.posted) >= 4 else None)
        types = [json.loads(posted.body)["type"] for posted in server.posted]
        assert types == ["webhook.test", "webhook.test", "import.picked_up", "import.succeeded"]
        assert all(verified(posted.headers, posted.body, secret[0]) for posted in server.posted)
        assert not verified(server.posted[0].headers, server.posted[0].body + b" ", secret[0])

        (rotate,) = commands_of("Changing the secret")
        assert re.search(r"whsec_\S+", run(rotate)) is not None
        log = [run(command) for command in commands_of("What became of a notice")]
        assert "succeeded" in log[0]
        assert json.loads(log[1]) == []
    finally:
        instance.close()


def commands_of(heading: str) -> list[str]:
    """The commands of a section, in their order."""
    start = re.search(rf"^##+ {re.escape(heading)}\n", PAGE, re.MULTILINE)
    assert start is not None
    section = re.split(r"^##", PAGE[start.end() :], flags=re.MULTILINE)[0]
    without_programs = re.sub(r"^```.*?^```", "", section, flags=re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"(?:^    .*\n)+", without_programs, re.MULTILINE)
    return [line for block in blocks for line in lines_of(block)]


def _verifier() -> Callable[..., bool]:
    """The function of the page."""
    program = re.search(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert program is not None
    names: dict[str, Any] = {}
    exec(program[1], names)  # the page's own
    found: Callable[..., bool] = names["verified"]
    return found
