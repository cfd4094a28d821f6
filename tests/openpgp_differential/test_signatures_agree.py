"""Our reader, gpg and Sequoia say the same of every signature; where not, the table says who is alone, and why."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.openpgp import certificate_writer
from tests.openpgp import signature_vectors as vectors
from tests.openpgp.sender import Gpg
from tests.openpgp_differential import senders, signed
from tests.openpgp_differential.readers import KINDS, Readers
from tests.openpgp_differential.signature_readers import SignatureReaders, Told
from tests.openpgp_differential.signed import Case

FULL = os.environ.get("SEALDROP_DIFFERENTIAL") == "full"


class Disagreement(NamedTuple):
    """Which messages (a pattern for the whole name), what gpg or Sequoia says of them if not the same, and why."""

    messages: str
    gpg: str | None
    sequoia: str | None
    reason: str


DISAGREEMENTS = (
    # what gpg 2.2 does not read
    Disagreement(
        "sequoia v6 .*|crafted good of version 6|key v6 ((RSA|P-).*|Ed25519 SHA(256|384|512)|Ed448 SHA512)",
        "refused",
        "good",
        "P26: no gpg has keys of version 6",
    ),
    Disagreement("crafted bad .*(version|salt).*|crafted unchecked of version 5", "refused", None, "as before"),
    Disagreement(
        "crafted bad (with a cut value|cut in its head)|crafted unchecked longer than any",
        "refused",
        None,
        "gpg stops at the packet; for us a signature that cannot be read is no reason to refuse the data",
    ),
    # what gpg 2.2 alone calls good or bad
    Disagreement("gpg rsa (SHA1|RIPEMD160)|crafted unchecked with SHA-1", "good", None, "gpg 2.2 still believes these"),
    Disagreement("crafted unchecked with SHA-1 and .*", "bad", None, "as before; for us they prove nothing either way"),
    Disagreement("text LF in .|crafted good text", "bad", None, "gpg hashes line ends as they are: RFC 9580 §5.2.1.2"),
    Disagreement("text LF as it is .*|crafted bad announced as text", "good", None, "as before"),
    Disagreement(".* a critical subpacket that nobody signed", "bad", None, "for us what is not hashed says nothing"),
    Disagreement("several (good, bad|bad, good)", "bad", None, "gpg ends at a bad one, for us the best counts"),
    Disagreement("expired key in time", "expired", None, "for gpg a key that has expired since proves nothing"),
    # gpg's errors, which are not its word for a bad signature
    Disagreement("crafted bad announced with another hash", "unchecked", None, "gpg has not computed that hash"),
    Disagreement("crafted bad by another algorithm", "unchecked", None, "gpg does not know it"),
    Disagreement("crafted bad (empty|.*subpacket.* end|with an empty .*)", "unchecked", None, "gpg cannot read it"),
    Disagreement("crafted bad (older.*|without a time)", "unchecked", None, "gpg says that the times cannot be right"),
    Disagreement(
        "crafted bad that (certifies.*|is no .*)", "unchecked", None, "gpg does not verify this kind in a message"
    ),
    Disagreement(
        "key v4 (P-256 SHA224|P-384 SHA(224|256)|P-521 SHA(224|256|384))",
        "unchecked",
        "good",
        "gpg wants a digest as long as the curve's numbers",
    ),
    # what Sequoia, or its binding to Python, does not verify
    Disagreement(
        "gpg .* (zip|zlib) .*|crafted (good|none at all,) compressed", None, "refused", "PySequoia: not if compressed"
    ),
    Disagreement(
        "crafted good in front( with .*)?", None, "not good", "Sequoia does not verify the old way of RFC 9580 §10.3"
    ),
    Disagreement("crafted good with a long subpacket", None, "not good", "Sequoia has a limit for them"),
    Disagreement("text CR .*", None, "not good", "for Sequoia a CR alone is a line end as well"),
    Disagreement("crafted unknown_signer by nobody", None, "none", "it has nobody to ask for"),
    # where neither follows the other, nor us
    Disagreement("crafted good around compressed data", "none", "refused", "gpg passes over the signature"),
    Disagreement("crafted good in front of compressed data", "bad", "refused", "gpg hashes the compressed packet"),
    Disagreement("crafted good without an issuer", "unknown_signer", "not good", "the one-pass packet names it to us"),
    Disagreement(
        "crafted (bad announced behind|bad announced by half .*|.* and not announced)",
        "refused",
        "refused",
        "RFC 9580 §10.3: no message at all; for us the signature is wrong, and the data whole",
    ),
    Disagreement("crafted bad announced, and missing", "none", "refused", "gpg does not miss it"),
    Disagreement("crafted none but announced behind", None, "refused", "as above"),
    # where we are the stricter
    Disagreement("crafted bad with another check", "good", "good", "neither compares the digest's first two octets"),
    Disagreement(
        "crafted bad for somebody else", "good", "good", "neither looks at the recipients that it was meant for"
    ),
    Disagreement("crafted bad announced as another's", "good", "good", "we hash only what is announced as a signer's"),
    Disagreement("key v4 Ed25519 SHA224", "good", "good", "RFC 9580 §5.2.3.3: the digest must have 32 octets"),
    Disagreement(
        "key v6 (Ed25519 SHA224|Ed448 SHA(224|256|384))", "refused", "good", "RFC 9580 §5.2.3.4, §5.2.3.5: 32, and 64"
    ),
)


@pytest.fixture(scope="module")
def stranger() -> Iterator[Gpg]:
    sender = Gpg()
    sender.make_key("stranger", "ed25519")
    yield sender
    sender.close()


@pytest.fixture(scope="module")
def told(gpg: Gpg, stranger: Gpg, readers: Readers) -> dict[str, list[tuple[Case, Told]]]:
    """All messages with their verdicts, by where they come from."""
    tsks = signed.sequoias()
    known = [vectors.OURS, vectors.OURS6, vectors.RSA, *signed.KEYS.values()]
    certificates = [certificate_writer.certificate(key) for key in dict.fromkeys(known)]
    certificates += [bytes(tsk.extract_certificate()) for tsk in tsks.values()]
    certificates += [gpg.run("--export", f"={kind}") for kind in KINDS]
    certificates.append(signed.expired_certificate())
    session = senders.sessions(gpg)["cv", "AES256"]
    cases = {
        "gpg": list(signed.from_gpg(gpg, stranger, full=FULL)),
        "damaged": list(signed.damaged(gpg, session, full=FULL)),
        "sequoia": list(signed.from_sequoia(tsks, session)),
        "crafted": list(signed.from_writer(session)),
        "text": list(signed.over_text(session)),
        "several": list(signed.by_several(session)),
    }
    all_three = SignatureReaders(gpg, readers, certificates)
    with ThreadPoolExecutor(2) as pool:
        return {
            group: list(zip(some, pool.map(lambda case: all_three.told(case.kind, case.message), some), strict=True))
            for group, some in cases.items()
        }


GROUPS = ("gpg", "damaged", "sequoia", "crafted", "text", "several")


@pytest.mark.parametrize("group", GROUPS)
def test_readers_agree_on_signatures(told: dict[str, list[tuple[Case, Told]]], group: str) -> None:
    """FAULTS P21."""
    assert [line for case, each in told[group] if (line := disagreement(case, each))] == []


def disagreement(case: Case, told: Told) -> str:
    """Empty when all agree as they should, or disagree as the table says."""
    row = row_of(case.name)
    by_sequoia = case.state if case.state in ("good", "unknown_signer", "none") else "not good"
    expected = Told(
        case.state,
        row.gpg if row and row.gpg is not None else case.state,
        row.sequoia if row and row.sequoia is not None else by_sequoia,
    )
    return "" if told == expected else f"{case.name}: {told}, expected {expected}"


def row_of(name: str) -> Disagreement | None:
    return next((row for row in DISAGREEMENTS if re.fullmatch(row.messages, name)), None)


def test_every_row_of_the_table_is_met(told: dict[str, list[tuple[Case, Told]]]) -> None:
    names = [case.name for group in told.values() for case, _ in group]
    assert told.keys() == set(GROUPS)
    assert len(names) == len(set(names)) > 150
    assert {row_of(name) for name in names} - {None} == set(DISAGREEMENTS)
