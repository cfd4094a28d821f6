"""What holds for every command: help with an example, exit codes, errors with a text and no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from ingest.cli import app
from tests.cli.conftest import Desk

Words = tuple[str, ...]

NEED_AN_INSTALLATION: list[Words] = [
    ("serve",),
    ("check",),
    ("sweep",),
    ("account", "add", "acme"),
    ("account", "change", "acme", "--no-gnupg"),
    ("account", "list"),
    ("account", "show", "acme"),
    ("account", "disable", "acme"),
    ("account", "enable", "acme"),
    ("account", "remove", "acme", "--yes"),
    ("account", "webhook", "set", "acme", "https://acme.example/"),
    ("account", "webhook", "show", "acme"),
    ("account", "webhook", "rotate", "acme"),
    ("account", "webhook", "test", "acme"),
    ("account", "webhook", "remove", "acme"),
    ("ssh-key", "add", "acme", "file"),
    ("ssh-key", "list", "acme"),
    ("ssh-key", "remove", "acme", "SHA256:01234567"),
    ("key", "import", "acme", "file"),
    ("key", "generate", "acme"),
    ("key", "change", "some", "--signatures", "ignore"),
    ("key", "list"),
    ("key", "show", "some"),
    ("key", "export", "some"),
    ("key", "rotate", "some", "file"),
    ("key", "retire", "some"),
    ("key", "activate", "some"),
    ("key", "destroy", "some", "--yes"),
    ("key", "drill", "--all"),
    ("signer", "add", "acme", "file"),
    ("signer", "list", "acme"),
    ("signer", "remove", "acme", "0123456789ABCDEF"),
    ("keyset", "add", "acme", "file"),
    ("keyset", "generate", "acme"),
    ("keyset", "export", "acme"),
    ("keyset", "list"),
    ("keyset", "show", "some"),
    ("keyset", "remove", "some"),
    ("api", "credential", "add", "acme", "--scope", "upload"),
    ("api", "credential", "list", "acme"),
    ("api", "credential", "retire", "acme", "some"),
    ("api", "hpke", "acme"),
    ("api", "ca", "add", "acme", "file"),
    ("api", "ca", "list", "acme"),
    ("api", "ca", "remove", "acme", "some"),
    ("vault", "show"),
    ("vault", "rotate"),
    ("audit", "list"),
    ("audit", "verify"),
    ("import", "run", "acme", "file"),
    ("imports", "list"),
    ("imports", "show", "some"),
    ("imports", "watch"),
    ("imports", "retry", "some"),
    ("notices", "list"),
    ("notices", "show", "1"),
    ("notices", "retry", "1"),
    ("profile", "show", "acme", "--identity", "u1"),
    ("events", "list", "acme"),
    ("events", "names", "acme"),
    ("events", "discard", "acme", "Charged"),
    ("events", "keep", "acme", "Charged"),
    ("lake", "compact"),
]


def commands() -> Iterator[Words]:
    """Every command's words, by walking the tree as the user would."""

    def below(node: object, words: Words) -> Iterator[Words]:
        children = getattr(node, "commands", None)
        if children is None:
            yield words
            return
        for name, child in children.items():
            yield from below(child, (*words, name))

    yield from below(typer.main.get_command(app), ())


ALL = sorted(commands())


def test_every_command_is_known_here() -> None:
    without = {
        ("init",),
        ("demo",),
        ("manifest", "check"),
        ("manifest", "init"),
        ("manifest", "schema"),
        ("api", "call"),
        ("api", "keyset"),
    }
    named = {command for words in NEED_AN_INSTALLATION for command in ALL if words[: len(command)] == command}
    assert {*without, *named} == set(ALL)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_of_every_command_has_an_example_of_it(desk: Desk, words: Words) -> None:
    text = " ".join(desk.bare(*words, "--help").out.split())
    assert f"Example: sealdrop {' '.join(words)}" in text


@pytest.mark.parametrize("words", NEED_AN_INSTALLATION, ids=" ".join)
def test_command_without_an_installation_says_how_to_make_one(desk: Desk, words: Words) -> None:
    ran = desk.bare(*words, code=1)
    assert "sealdrop init" in ran.err
    assert "--config" in ran.err
    assert ran.out == ""
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("account", "nonsense"),
        ("account", "add"),
        ("account", "list", "--nonsense"),
        ("init", "--port", "0"),
        ("serve", "--only", "nonsense"),
        ("key", "generate", "acme", "--type", "rsa1024"),
        ("key", "generate", "acme", "--expires", "soon"),
        ("key", "generate", "acme", "--expires", "0"),
        ("key", "rotate", "some"),
        ("key", "rotate", "some", "file", "--generate"),
        ("key", "retire", "some", "--on", "tomorrow"),
        ("key", "drill"),
        ("keyset", "generate", "acme", "--kem", "p256"),
        ("keyset", "add", "acme", "file", "--days", "-1"),
        ("api", "credential", "add", "acme"),
        ("api", "credential", "add", "acme", "--scope", "everything"),
        ("imports", "list", "--limit", "0"),
        ("notices", "list", "--state", "lost"),
        ("notices", "list", "--channel", "pigeon"),
        ("notices", "show", "some"),
        ("account", "webhook", "rotate", "acme", "--hours", "-1"),
        ("profile", "show", "acme"),
        ("profile", "show", "acme", "--identity", "a", "--object-id", "b"),
        ("events", "list", "acme", "--from", "yesterday"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(desk: Desk, words: Words) -> None:
    ran = desk.run(*words, code=2)
    assert "Usage: sealdrop" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ("account", "show", "nobody"),
        ("account", "disable", "nobody"),
        ("account", "enable", "nobody"),
        ("account", "remove", "nobody", "--yes"),
        ("key", "import", "nobody", "file"),
        ("key", "generate", "nobody"),
        ("key", "list", "nobody"),
        ("keyset", "add", "nobody", "file"),
        ("keyset", "generate", "nobody"),
        ("keyset", "export", "nobody"),
        ("keyset", "list", "nobody"),
        ("api", "credential", "add", "nobody", "--scope", "keys"),
        ("api", "credential", "list", "nobody"),
        ("api", "credential", "retire", "nobody", "some"),
        ("api", "hpke", "nobody"),
        ("api", "ca", "list", "nobody"),
        ("account", "webhook", "set", "nobody", "https://acme.example/"),
        ("account", "webhook", "show", "nobody"),
        ("import", "run", "nobody", "file"),
        ("profile", "show", "nobody", "--identity", "u1"),
        ("events", "list", "nobody"),
        ("lake", "compact", "nobody"),
    ],
    ids=" ".join,
)
def test_unknown_account_is_named_with_the_way_to_the_known_ones(desk: Desk, words: Words) -> None:
    said = desk.fails(*words)
    assert "no account nobody" in said
    assert "sealdrop account list" in said


@pytest.mark.parametrize("noun", ["account", "key", "keyset", "imports", "notices"])
def test_nothing_to_list_is_an_empty_list_and_a_message_beside_it(desk: Desk, noun: str) -> None:
    assert desk.json(noun, "list") == []
    ran = desk.run(noun, "list")
    assert ran.out == ""
    assert ran.err.startswith("No ")


def test_settings_that_are_wrong_are_told_all_at_once(desk: Desk) -> None:
    desk.config.write_text('[door]\nport = 70000\nprot = 1\n\n[worker]\nprocesses = "many"\n')
    said = desk.fails("account", "list")
    for place in ("door.port", "door.prot", "worker.processes"):
        assert place in said


def test_settings_file_that_is_not_there_is_named(desk: Desk) -> None:
    said = desk.bare("--config", "nowhere.toml", "account", "list", code=1).err
    assert "nowhere.toml" in said
    assert "sealdrop init" in said


def test_settings_are_found_in_the_folder_one_is_in(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    desk.bare("account", "add", "acme")
    assert [account["id"] for account in desk.json("account", "list")] == ["acme"]


def test_a_file_that_cannot_be_written_is_a_text_and_no_traceback(desk: Desk) -> None:
    desk.run("account", "add", "acme")
    file = desk.write("file", "")
    assert str(file) in desk.fails("key", "generate", "acme", "--out", file / "below")
    assert desk.json("key", "list") == []
    assert str(file) in desk.bare("init", file / "below", code=1).err
