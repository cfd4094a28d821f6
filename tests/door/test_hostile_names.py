"""Names that a client should not send, over real connections to a door with real logs: refused in words, logged clean.

FAULTS.md S10. The names are ours; each kind of trouble is there at least once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import asyncssh
import pytest

from ingest.door.paths import BAD_NAME, FLAT
from ingest.door.view import READ_ONLY
from tests.door.conftest import Site, door_process
from tests.door.test_hostile_requests import _int, _text, raw

_CONTROLS = [bytes([code]) for code in (*range(1, 32), 127)]
_UNSEEN = (  # what turns the direction of writing, joins, breaks a line, or has no width
    "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f\u061c\u200b\u200d\u2060\ufeff\u00ad\u2028\u2029\u0085"
)
_ESCAPES = [
    "\x1b[2J",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x07",
    "\x1bP+q\x1b\\",
    "\x9b31m",
    "\b\b\b",
    "\r!",
]
_LINES = ['a\n{"action":"door_login","account":"acme"}', "a\r\nb", "\n", "a\u2028b", "a\vb", "a\fb", "%0a", "\\n"]
_PICTURES = ["\U0001f4a3.csv", "\U0001f469\u200d\U0001f52c", "\U0001f1e9\U0001f1ea", "e" + "\u0301" * 60, "\ufffd"]
_ENDS = [".htaccess", ".ssh", "...", ". ", ".a.csv", "a.", "a ", " a", "CON.", "NUL:", "COM1:x", "a.csv:hidden"]
_WORDS = """
    раypal.csv ｕsers.csv uѕers.csv users․csv a⁄b a∕b a／b ．． ﬁle Å Å
    $(id) `id` a;id a|id a&id a&&id a>b <a * ? [a] {a,b} ~ ~root !a #a a'b a"b $HOME
    ${IFS} %s%n %PATH%
    a=b a:b a,b a\\b -rf -- - --help -oProxyCommand=id
    ../x ../../etc/passwd /etc/passwd //etc//passwd a/../../x results/x a/b globex/x ..\\x C:\\x \\\\host\\x
    %2e%2e%2fx ..%c0%afx file:///etc/passwd /proc/self/environ
"""  # look-alikes, shells, options, paths
_OF_OTHERS = ["<script>1</script>", "' OR 1=1 --", "{{7*7}}", "${jndi:ldap://x/a}", "=cmd|' /C x'!A0", "a\0.csv", "\0"]
_LONG = ["n" * 129, "n" * 255, "n" * 4096, "n" * 200_000, "/" * 5000 + "x/y", "é" * 64]
_NO_TEXT = [b"\xff\xfe", b"\xc0\xae\xc0\xae/x", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x80", b"\xe2\x82"]

# no system that treats these differently ever sees them as a path of its own
_HARMLESS = "CON PRN.txt AUX NUL NUL.csv COM1 LPT9.csv null undefined NaN True 0 1e9 desktop.ini"


def _hostile() -> Iterator[bytes]:
    for control in _CONTROLS:
        yield b"a" + control + b"b"
    for sign in _UNSEEN:
        yield f"a{sign}vsc.exe".encode()
    for names in (_ESCAPES, _LINES, _PICTURES, _WORDS.split(), _ENDS, _OF_OTHERS, _LONG):
        yield from (name.encode() for name in names)
    yield from _NO_TEXT


async def test_hostile_names_are_refused_in_words_and_reach_no_log(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS S10: as names to upload, to rename to and to log in as; a line of the log is one object, all printable."""
    names = list(_hostile())
    assert len(names) > 150
    monkeypatch.setattr(asyncssh.connection, "saslprep", str)  # the client's own, which would not send such accounts
    (site.spool.drop("acme") / "good").write_text("x")
    async with door_process(site.folder) as door:
        async with raw(site, port=door.port, known_hosts=None) as client:
            for name in names:
                for kind, payload in (
                    (3, _text(name) + _int(0x1A) + _int(0)),  # open to write
                    (18, _text(b"good") + _text(name)),  # rename
                    (200, _text(b"posix-rename@openssh.com") + _text(b"good") + _text(name)),
                ):
                    answer, status = await client.ask(kind, payload)
                    assert answer == 101, name
                    assert any(words.encode() in status for words in (BAD_NAME, FLAT, READ_ONLY)), (name, status)
        for account in ("\x1b]0;me\x07\nroot", "\u202egpg", "a" * 900):
            with pytest.raises((asyncssh.Error, OSError)):
                async with site.connect(account, port=door.port, known_hosts=None, client_keys=[site.key("acme")]):
                    pass
    assert (site.waiting(), site.parts()) == ({"good"}, [])
    log = (site.folder / "door.log").read_text("ascii")
    refused = 0
    for line in log.removesuffix("\n").split("\n"):
        assert line.isprintable()
        record = json.loads(line)
        refused += record["action"] == "door_refused"
        # what a client sent is not there in any spelling: only our own words
        assert record.get("reason", BAD_NAME) in (BAD_NAME, FLAT, READ_ONLY)
    assert refused > 2


async def test_names_that_trouble_others_only_are_names(site: Site) -> None:
    """FAULTS S10: of devices, of values of languages, and of the greatest length."""
    names = [*_HARMLESS.split(), "n" * 128]
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        for name in names:
            async with sftp.open(name, "wb") as file:
                await file.write(b"x")
            await sftp.rename(name, f"{name[:120]}.2")
    assert site.waiting() == {f"{name[:120]}.2" for name in names}
