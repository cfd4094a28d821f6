"""What happens after an error, and how little of an unknown one gets out."""

from __future__ import annotations

import errno
import re

import pytest

from ingest.errors import FileMissing, LedgerUnavailable
from ingest.outcomes import AFTER, OUR_FAULT, OUR_FAULT_CODE, OUR_FAULT_TEXT, Next, after, cause_of, code_of, public_of
from keystore.errors import Corrupt
from manifests.errors import TypeConflict
from stores.errors import StoreConflict

# programs of senders compare them; CONTRACT.md 5 names most
PROMISED = {
    Next.REJECT: {"manifest.invalid", "manifest.file_missing", "key.unknown", "key.retired", "data.header"}
    | {"pgp.wrong_key", "pgp.no_integrity", "pgp.truncated", "pgp.corrupt", "pgp.not_encrypted"}
    | {"pgp.armor_invalid", "pgp.password_encrypted", "pgp.unsupported", "pgp.signature_required", "data.too_large"},
    Next.DEFER: {"pgp.engine_failed"},
    Next.HOLD: {"key.rejected", "key.passphrase_wrong"},
}


def raised(error: Exception) -> Exception:
    """The error, with a way through the code."""
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize("error", AFTER)
def test_every_error_has_a_code_and_a_remedy_in_words(error: type[Exception]) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z0-9_]+", str(getattr(error, "code", "")))
    assert re.fullmatch(r"[A-Z].*\.", AFTER[error].remedy, re.DOTALL)


@pytest.mark.parametrize("outcome", PROMISED)
def test_code_that_was_promised_keeps_its_name_and_its_outcome(outcome: Next) -> None:
    found = {str(getattr(error, "code", "")) for error in AFTER if AFTER[error].next is outcome}
    assert PROMISED[outcome] - found == set()


def test_who_must_act() -> None:
    assert after(FileMissing("gone")).next is Next.REJECT
    assert after(Corrupt(detail="bad tag")).next is Next.REJECT
    assert after(TypeConflict("differs", column="a")).next is Next.REJECT
    assert after(LedgerUnavailable("locked")).next is Next.DEFER
    assert after(StoreConflict("raced")).next is Next.DEFER


def test_known_error_tells_its_own_code_and_text() -> None:
    error = raised(FileMissing("The data file is gone.", detail="inode 7"))
    assert code_of(error) == "manifest.file_missing"
    assert public_of(error) == "The data file is gone."
    assert cause_of(error) == "inode 7"


def test_cause_of_a_refusal_of_the_disk_says_which_but_not_of_what() -> None:
    """FAULTS W12: whoever reads the log must know whether to make room or to mount it anew."""
    cause = cause_of(raised(OSError(errno.EROFS, "canary", "/canary")))
    assert cause.startswith("builtins.OSError (Read-only file system) at ")
    assert "canary" not in cause
    assert cause_of(raised(OSError("canary", "canary"))).startswith("builtins.OSError at ")


def test_every_corrupt_message_has_one_text() -> None:
    """FAULTS P32: whatever only a decryption could tell reads the same."""
    texts = {public_of(Corrupt(detail=detail)) for detail in ("bad MDC", "bad padding", "bad zlib")}
    assert texts == {Corrupt.PUBLIC}


class Impostor(FileMissing):
    """A class that the table does not know, with a code and a public text of its own."""

    code = "canary.code"


@pytest.mark.parametrize(
    "error", [ValueError("canary value"), KeyError("canary"), MemoryError(), Impostor("canary", detail="canary")]
)
def test_unknown_error_is_ours_is_held_and_tells_nothing(error: Exception) -> None:
    caught = raised(error)
    assert after(caught) is OUR_FAULT
    assert OUR_FAULT.next is Next.HOLD
    assert (code_of(caught), public_of(caught)) == (OUR_FAULT_CODE, OUR_FAULT_TEXT)
    cause = cause_of(caught)
    assert type(error).__qualname__ in cause
    assert "raised" in cause
    assert "canary" not in cause
