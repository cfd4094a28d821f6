"""Which of an account's pairs opens a file: the message decides, the manifest's key ID goes first."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.custody import Rotation, make_pair
from ingest.ledger.pgp_keys import PgpKey
from ingest.report import Report
from ingest.states import PairState, State
from keystore.armored import armored
from keystore.openpgp import EngineName, decrypt
from keystore.pgp_encrypt import encrypt_to
from tests.support.workshop import ACCOUNT, Workshop

CSV = "identity,score\n" + "".join(f"u{n},{n}\n" for n in range(20))
WITH_A_BAD_ROW = CSV + "u20,canary\n"
TYPED = {"score": {"dataType": "Integer"}}


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


def new_pair(workshop: Workshop, account: str = ACCOUNT) -> PgpKey:
    if workshop.app.accounts.get(account) is None:
        workshop.app.accounts.add(account, now=workshop.now, actor="test")
    return make_pair(workshop.app, account, "cv25519", actor="test")


def rotated(workshop: Workshop) -> PgpKey:
    """The new primary pair of the workshop's key ID; the former one is previous for 30 days."""
    until = workshop.now + timedelta(days=30)
    rotation = Rotation(workshop.app.pgp_keys.of_key_id(workshop.key.key_id)[0], until)
    return make_pair(workshop.app, ACCOUNT, "cv25519", rotation=rotation, actor="test")


def sent(workshop: Workshop, *to: PgpKey, key_id: str | None, hidden: bool = False, csv: str = CSV) -> Report:
    """What becomes of a file that is encrypted to these pairs, with a manifest that names this key ID, or none."""
    workshop.received(csv, message=message_to(*to, csv=csv, hidden=hidden), keyId=key_id, columns=TYPED)
    return workshop.carried_out()


def message_to(*to: PgpKey, csv: str, hidden: bool = False) -> bytes:
    """One message to several pairs: the last one's, with recipients in front that it does not open for."""
    messages = [_binary(encrypt_to(key.public_key, csv.encode())) for key in to]
    heads = [message[: 6 + int.from_bytes(message[2:6])] for message in messages]
    if hidden:
        heads = [head[:7] + bytes(8) + head[15:] for head in heads]
    body = messages[-1][6 + int.from_bytes(messages[-1][2:6]) :]
    return armored("PGP MESSAGE", b"".join(heads) + body, with_crc=True)


def _binary(message: bytes) -> bytes:
    return base64.b64decode(b"".join(message.split(b"\n\n")[1].split(b"\n=")[0].split()))


def test_sender_rotates_without_a_new_manifest(workshop: Workshop) -> None:
    """The recipient in the message decides between primary and previous; after its day the previous opens nothing."""
    old, key_id = workshop.key, workshop.key.key_id
    new = rotated(workshop)
    assert new.key_id == key_id
    for pair in (old, new, old):
        report = sent(workshop, pair, key_id=key_id)
        assert (report.state, report.pair, report.key_id) == (State.SUCCEEDED, pair.fingerprint, key_id)
    workshop.pass_time(days=30)
    report = sent(workshop, old, key_id=key_id)
    assert (report.state, report.code) == (State.FAILED, "key.retired")
    assert old.fingerprint in (report.message or "")
    assert sent(workshop, new, key_id=key_id).state == State.SUCCEEDED


def test_rejected_rows_go_to_the_pair_that_the_file_came_with(workshop: Workshop) -> None:
    """CONTRACT 6: also when that is the previous pair."""
    old, new = workshop.key, rotated(workshop)
    for pair, other in ((old, new), (new, old)):
        report = sent(workshop, pair, key_id=pair.key_id, csv=WITH_A_BAD_ROW)
        assert (report.rows_stored, report.rows_rejected) == (20, 1)
        rejects = (workshop.app.spool.results(ACCOUNT) / str(report.reject_file)).read_bytes()
        ring = workshop.app.keyring
        assert b"canary" in b"".join(decrypt(io.BytesIO(rejects), [ring.stored(other), ring.stored(pair)]))
        recipients = decrypt(io.BytesIO(rejects), [ring.stored(pair)])
        assert b"".join(recipients)
        assert recipients.pair == pair.fingerprint


def test_manifest_without_a_key_id_is_opened_by_the_pair_that_the_message_names(workshop: Workshop) -> None:
    """FAULTS P17, P18: within the account; recipients that are not ours go first."""
    second, foreign = new_pair(workshop), new_pair(workshop, "other")
    for pair in (workshop.key, second):
        report = sent(workshop, pair, key_id=None)
        assert (report.state, report.key_id, report.pair) == (State.SUCCEEDED, pair.key_id, pair.fingerprint)
    report = sent(workshop, foreign, second, key_id=None)
    assert (report.state, report.key_id) == (State.SUCCEEDED, second.key_id)
    used = {key.key_id: key.last_used_at for key in workshop.app.pgp_keys.of_account(ACCOUNT)}
    assert used == {workshop.key.key_id: workshop.now, second.key_id: workshop.now}


@pytest.mark.parametrize("named", [True, False])
def test_hidden_recipient_is_found_among_the_pairs_of_the_account(workshop: Workshop, named: bool) -> None:
    """FAULTS P17."""
    pairs = [workshop.key, *(new_pair(workshop) for _ in range(3))]
    for pair in pairs:
        report = sent(workshop, pair, key_id=pairs[1].key_id if named else None, hidden=True)
        assert (report.state, report.pair, report.key_id) == (State.SUCCEEDED, pair.fingerprint, pair.key_id)


def test_message_decides_when_the_manifest_names_another_pair_and_that_is_logged(workshop: Workshop) -> None:
    """FAULTS P19."""
    second = new_pair(workshop)
    with capture_logs() as logs:
        report = sent(workshop, second, key_id=workshop.key.key_id)
    assert (report.state, report.key_id, report.pair) == (State.SUCCEEDED, second.key_id, second.fingerprint)
    (mismatch,) = [entry for entry in logs if entry.get("action") == "key_mismatch"]
    assert (mismatch["named"], mismatch["key_id"]) == (workshop.key.key_id, second.key_id)
    with capture_logs() as logs:
        sent(workshop, workshop.key, key_id=workshop.key.key_id)
    assert [entry for entry in logs if entry.get("action") == "key_mismatch"] == []


@pytest.mark.parametrize("engine", ["native", "gnupg"])
def test_key_of_another_account_is_never_tried(tmp_path: Path, engine: EngineName) -> None:
    """FAULTS P19: two tenants; also for a hidden recipient, and when the other's pair is unlocked already."""
    workshop = Workshop(tmp_path, engine=engine)
    theirs = new_pair(workshop, "other")
    workshop.app.keyring.stored(theirs).unlocked()
    for key_id in (workshop.key.key_id, None):
        report = sent(workshop, theirs, key_id=key_id)
        assert (report.state, report.code) == (State.FAILED, "pgp.wrong_key")
        assert workshop.key.fingerprint in (report.message or "")
        assert theirs.fingerprint not in (report.message or "")
        assert sent(workshop, theirs, key_id=key_id, hidden=True).code == "pgp.corrupt"
    assert sent(workshop, workshop.key, key_id=theirs.key_id).code == "key.unknown"
    workshop.app.close()


@pytest.mark.parametrize("state", [PairState.RETIRED, PairState.DESTROYED])
def test_pair_that_no_longer_opens_files_says_so(workshop: Workshop, state: PairState) -> None:
    """FAULTS P16, K8: precise, since everybody can see for whom a message is."""
    other = new_pair(workshop)
    workshop.app.pgp_keys.move([workshop.key], state, actor="test", now=workshop.now)
    report = sent(workshop, workshop.key, key_id=workshop.key.key_id)
    assert (report.state, report.code) == (State.FAILED, "key.retired")
    assert state in (report.message or "")
    assert report.remedy
    assert workshop.stages(report.id) == ["picked_up", "failed"]
    report = sent(workshop, other, key_id=workshop.key.key_id)
    assert (report.state, report.key_id) == (State.SUCCEEDED, other.key_id), "the message decides"
    assert sent(workshop, workshop.key, other, key_id=None).key_id == other.key_id
    assert sent(workshop, workshop.key, key_id=workshop.key.key_id, hidden=True).code == "key.retired"
    assert sent(workshop, other, key_id=None, hidden=True).key_id == other.key_id


def test_only_the_pair_that_a_message_names_is_unlocked(workshop: Workshop) -> None:
    """Each unlocking costs some tenths of a second and holds a secret."""
    pairs = [workshop.key, *(new_pair(workshop) for _ in range(4))]
    ring = workshop.app.keyring
    for key_id in (pairs[0].key_id, None):
        ring._unlocked.clear()
        message = decrypt(io.BytesIO(message_to(pairs[3], csv=CSV)), ring.pairs(ACCOUNT, key_id))
        assert b"".join(message) == CSV.encode()
        assert [name[1] for name in ring._unlocked] == [pairs[3].key_id]
    rsa = make_pair(workshop.app, ACCOUNT, "rsa3072", actor="test")
    ring._unlocked.clear()
    message = decrypt(io.BytesIO(message_to(pairs[4], csv=CSV, hidden=True)), ring.pairs(ACCOUNT, rsa.key_id))
    assert b"".join(message) == CSV.encode()
    assert rsa.key_id not in [name[1] for name in ring._unlocked], "an RSA pair cannot be a hidden ECDH recipient"


def test_policy_of_the_pair_that_opens_a_file_holds(workshop: Workshop) -> None:
    second = new_pair(workshop)
    workshop.app.pgp_keys.change_policy(second, "require", actor="test", now=workshop.now)
    assert sent(workshop, workshop.key, key_id=second.key_id).state == State.SUCCEEDED
    assert sent(workshop, second, key_id=workshop.key.key_id).code == "pgp.signature_required"


def test_password_beside_a_public_key_is_refused_whichever_pairs_there_are(workshop: Workshop) -> None:
    """FAULTS P20: also when the password is a pair's own passphrase; it is never offered as one."""
    new_pair(workshop)
    for key_id in (workshop.key.key_id, None):
        message = _binary(message_to(workshop.key, csv=CSV))
        skesk = b"\xc3\x0d\x04\x09\x03\x08" + bytes(8) + b"\x60"
        for data in (message[: 6 + int.from_bytes(message[2:6])] + skesk, skesk):
            body = message[6 + int.from_bytes(message[2:6]) :]
            workshop.received(CSV, message=armored("PGP MESSAGE", data + body, with_crc=True), keyId=key_id)
            assert workshop.carried_out().code == "pgp.password_encrypted"


def test_key_that_expired_still_opens_what_was_sent(workshop: Workshop) -> None:
    """FAULTS P16: a sender's gpg refuses to encrypt to it; what is here already is not lost."""
    pair = make_pair(workshop.app, ACCOUNT, "cv25519", lasts=timedelta(days=1), actor="test")
    workshop.pass_time(days=2)
    assert pair.expires_at is not None
    assert pair.expires_at < workshop.now
    with capture_logs() as logs:
        assert sent(workshop, pair, key_id=pair.key_id).state == State.SUCCEEDED
        assert sent(workshop, workshop.key, key_id=workshop.key.key_id).state == State.SUCCEEDED
    assert [entry["key_id"] for entry in logs if entry.get("action") == "key_expired"] == [pair.key_id]


def test_text_for_the_sender_names_few_pairs(workshop: Workshop) -> None:
    for _ in range(5):
        new_pair(workshop)
    theirs = new_pair(workshop, "other")
    message = sent(workshop, theirs, key_id=workshop.key.key_id).message or ""
    assert message.count("keyId") == 3
    assert workshop.key.fingerprint in message, "the pair of the manifest's key ID goes first"


def test_facts_of_a_stored_pair_stay_those_of_its_certificate(workshop: Workshop) -> None:
    stored = workshop.app.keyring.stored(workshop.key)
    unlocked = stored.unlocked()
    for fact in ("key_id", "fingerprint", "openpgp_key_ids", "algorithms", "gnupg_reads", "expires_at"):
        assert getattr(stored, fact) == getattr(unlocked, fact)
    assert stored.public_armored() == workshop.key.public_key
