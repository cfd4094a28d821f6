"""Our reader, gpg and Sequoia make the same of every message; where not, the table says who is alone, and why."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.openpgp.sender import Gpg
from tests.openpgp_differential import damage, senders
from tests.openpgp_differential.readers import KINDS, NAMES, Readers, Verdicts
from tests.openpgp_differential.senders import CIPHERS, Case

# `make differential` asks for the whole matrix
FULL = os.environ.get("SEALDROP_DIFFERENTIAL") == "full"


class Disagreement(NamedTuple):
    """Which messages (a pattern for the whole name), who reads them, and why the others do not."""

    messages: str
    read_by: str
    reason: str


DISAGREEMENTS = (
    # what we refuse, and others read
    Disagreement("gpg .* (CAMELLIA256|TWOFISH) .*", "gpg sequoia", "our own engine has AES only, the rest is gpg's"),
    Disagreement("gpg .* (CAST5|3DES) .*", "gpg", "as before; Sequoia's policy refuses ciphers with small blocks"),
    Disagreement(r"\w+ armored followed by b.*", "gpg sequoia", "P10: both skip text around armor, we do not"),
    Disagreement(r"\w+ armored followed by itself", "sequoia", "P9: Sequoia drops a second message without a word"),
    Disagreement(r"\w+ text before the armor", "gpg sequoia", "P10: a mail's text could pass for data"),
    Disagreement(r"\w+ no END line", "gpg", "P3: for us, armor without its end is a cut upload"),
    Disagreement(r"\w+ another label", "gpg sequoia", "both look at the packets only, we at the label as well"),
    Disagreement(r"\w+ a password as well", "gpg sequoia", "P20: a message to us is to our key, and to nothing else"),
    Disagreement(r"\w+ with another message inside", "gpg sequoia", "RFC 9580 §10.3 allows it; nobody sends it"),
    # what gpg alone reads, and nobody should
    Disagreement(r"\w+ a password only", "gpg", "P20: the password was the passphrase of the key"),
    Disagreement(r"\w+ an MDC before the MDC", "gpg", "P5: gpg passes over a packet of type 19 that is not the last"),
    Disagreement(r"\w+ with (nothing|a marker only) inside", "gpg", "P3: gpg makes an empty file of no literal at all"),
    Disagreement(r"\w+ with an unknown critical packet inside", "gpg", "P25: gpg passes over every unknown packet"),
    Disagreement(r"\w+ with a public key inside", "gpg", "gpg passes over it"),
    # what Sequoia alone reads: its decrypt() is also for what was never encrypted
    Disagreement(r"\w+ (a literal|a compressed literal|signed only)", "sequoia", "P7: not encrypted"),
    # what we read, and others refuse
    Disagreement(r".* bzip2 .*", "native gpg", "P23: PySequoia's build has no bzip2 and calls it malformed"),
    Disagreement(r"sequoia v6 \S+ none \d+( armor)?", "native sequoia", "P26: no gpg has keys of version 6"),
    Disagreement(r"OCB .*", "native gpg", "Sequoia does not read GnuPG's own packet type 20"),
    Disagreement(r"\w+ with an unknown non-critical packet .*", "native gpg", "RFC 9580 §4.3; Sequoia is the stricter"),
    Disagreement(r"\w+ a byte order mark", "native", "P12: Windows programs put one before any text"),
    Disagreement(r"\w+ a wrong CRC24", "native sequoia", "P11: RFC 9580 §6.1 forbids to refuse it"),
    Disagreement(r"\w+ no CRC24, length 0 modulo 3", "native sequoia", "P11: gpg needs it where nothing is padded"),
)


@pytest.fixture(scope="module")
def cases(gpg: Gpg, readers: Readers) -> dict[str, list[Case]]:
    """All messages, by where they come from."""
    sessions = senders.sessions(gpg)
    longest = {kind: sessions[kind, CIPHERS[-1]] for kind in KINDS}
    return {
        "gpg": list(senders.from_gpg(gpg, full=FULL)),
        "sequoia": list(senders.from_sequoia(readers, full=FULL)),
        "version 6": list(senders.of_version_6(readers, full=FULL)),
        "packet writer": list(senders.from_packet_writer(sessions, full=FULL)),
        "chunks": [case for kind in KINDS for case in senders.in_chunks(longest[kind], kind)],
        "damage": [case for kind in KINDS for case in damage.damaged(kind, longest[kind], full=FULL)],
        "integrity": [case for kind in KINDS for case in damage.without_integrity(kind, longest[kind])],
        "inside": [case for kind in KINDS for case in damage.inside(kind, longest[kind])],
        "around": [case for kind in KINDS for case in damage.around(gpg, kind, longest[kind])],
    }


GROUPS = ("gpg", "sequoia", "version 6", "packet writer", "chunks", "damage", "integrity", "inside", "around")


@pytest.mark.parametrize("group", GROUPS)
def test_readers_agree(readers: Readers, cases: dict[str, list[Case]], group: str) -> None:
    """FAULTS P2 to P12, P14, P20, P22, P23, P25, P26: on the plain text, or on refusing it."""
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(lambda case: readers.verdicts(case.kind, case.message), cases[group]))
    pairs = zip(cases[group], verdicts, strict=True)
    assert [line for case, verdict in pairs if (line := disagreement(case, verdict))] == []


def disagreement(case: Case, verdicts: Verdicts) -> str:
    """Empty when all agree as they should, or disagree as the table says."""
    read_by = [name for name, verdict in zip(NAMES, verdicts, strict=True) if verdict is not None]
    row = row_of(case.name)
    expected = row.read_by.split() if row else list(NAMES) if case.plain is not None else []
    if read_by != expected:
        return f"{case.name}: read by {read_by}, expected {expected}"
    if case.plain is not None and any(verdict not in (None, case.plain) for verdict in verdicts):
        return f"{case.name}: somebody read another text"
    return ""


def row_of(name: str) -> Disagreement | None:
    return next((row for row in DISAGREEMENTS if re.fullmatch(row.messages, name)), None)


def test_hundreds_of_different_messages(cases: dict[str, list[Case]]) -> None:
    names = [case.name for group in cases.values() for case in group]
    assert cases.keys() == set(GROUPS)
    assert len(names) == len(set(names)) > 600


def test_every_row_of_the_table_is_met(cases: dict[str, list[Case]]) -> None:
    assert {row_of(case.name) for group in cases.values() for case in group} - {None} == set(DISAGREEMENTS)
