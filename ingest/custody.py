"""Custody of PGP keys: pairs are checked, sealed, and stored under a key ID that we issue; signers are registered."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ingest.app import App
from ingest.keyring import passphrase_record, private_key_record
from ingest.ledger.pgp_keys import PgpKey, SealedPair
from ingest.ledger.signers import RegisteredSigner
from ingest.states import PairState
from keystore.openpgp import SignaturePolicy
from keystore.pgp_keys import GeneratedPair, KeyFacts, PrivateKey, generate_pair, inspect_private
from keystore.pgp_signer import Signer
from keystore.secret import Secret

PairKind = Literal["rsa3072", "cv25519"]


@dataclass(frozen=True, slots=True)
class Rotation:
    """A pair is to be the new primary of a key ID; ``former`` is its newest pair, and opens files until then.

    When both are the same, because its owner has extended it, the new export takes the place of the old one.
    """

    former: PgpKey
    previous_until: datetime


def import_pair(
    app: App,
    account: str,
    private_key: bytes,
    passphrase: Secret | None,
    *,
    signatures: SignaturePolicy = "verify",
    rotation: Rotation | None = None,
    actor: str,
) -> PgpKey:
    """Store a pair that a customer made, under a new key ID unless ``rotation`` says which.

    Raises `KeyRejected` or `KeyPassphraseWrong` when it would not open files, `AlreadyThere`, `LimitReached`, what the
    vault raises, and `MoveRefused` when the key ID has a previous pair already.
    """
    with app.refusals("key.add", account, actor=actor):
        facts = inspect_private(private_key, passphrase, now=app.now())
        transferable = Secret(private_key)
        public_key = PrivateKey.unlock("", transferable, passphrase).public_armored()
        place = _place(account, signatures, rotation, facts.fingerprint)
        return _store(app, place, _Material(transferable, passphrase, public_key, facts), actor=actor)


def make_pair(
    app: App,
    account: str,
    kind: PairKind,
    *,
    lasts: timedelta | None = None,
    signatures: SignaturePolicy = "verify",
    rotation: Rotation | None = None,
    actor: str,
    hand_out: Callable[[str, GeneratedPair], None] = lambda _key_id, _pair: None,
) -> PgpKey:
    """Make a pair for an account and store it as `import_pair` does; it expires after ``lasts``, or never.

    ``hand_out`` gets the key ID and the pair, once; when it raises, the pair is not stored. Raises `AlreadyThere`,
    `LimitReached`, what the vault raises, and `MoveRefused` when the key ID has a previous pair already.
    """
    place = _place(account, signatures, rotation)
    pair = generate_pair(kind, f"{account} (Sealdrop {place.key_id})", now=app.now(), lasts=lasts)
    with app.refusals("key.add", account, actor=actor):
        return _store(
            app,
            place,
            _Material(pair.private_armored, pair.passphrase, pair.public_armored, pair.facts),
            actor=actor,
            before_commit=lambda: hand_out(place.key_id, pair),
        )


def register_signer(app: App, account: str, certificate: bytes, *, actor: str) -> tuple[RegisteredSigner, bool]:
    """Register somebody whose signatures on the account's files count, and whether an older certificate was replaced.

    Raises `KeyRejected` when no signature of this key could ever be good, and `LimitReached`.
    """
    with app.refusals("signer.add", account, actor=actor):
        read = Signer.read(certificate, app.now())
        signer = RegisteredSigner(
            account=account,
            fingerprint=read.fingerprint,
            algorithm=read.algorithm,
            user_ids=read.user_ids,
            created_at=app.now(),
            expires_at=read.expires_at,
            certificate=read.certificate,
        )
        return signer, app.signers.add(signer, actor=actor)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a pair is to be stored."""

    account: str
    key_id: str
    version: int
    signatures: SignaturePolicy
    rotation: Rotation | None


@dataclass(frozen=True, slots=True, repr=False)
class _Material:
    """What of a pair is stored."""

    private_key: Secret
    passphrase: Secret | None
    public_key: bytes
    facts: KeyFacts


def _place(account: str, signatures: SignaturePolicy, rotation: Rotation | None, fingerprint: str = "") -> _Place:
    if rotation is None:
        return _Place(account, str(uuid.uuid4()), 1, signatures, None)
    former = rotation.former
    same = former.fingerprint == fingerprint and former.state is not PairState.DESTROYED
    return _Place(account, former.key_id, former.version + (not same), signatures, rotation)


def _store(
    app: App,
    place: _Place,
    material: _Material,
    *,
    actor: str,
    before_commit: Callable[[], None] = lambda: None,
) -> PgpKey:
    vault, facts = app.open_vault(), material.facts
    identity = (place.account, place.key_id, place.version)
    key = PgpKey(
        key_id=place.key_id,
        version=place.version,
        account=place.account,
        state=PairState.ACTIVE,
        fingerprint=facts.fingerprint,
        algorithm=facts.algorithm,
        user_ids=facts.user_ids,
        created_at=app.now(),
        expires_at=facts.expires_at,
        last_used_at=None,
        signatures=place.signatures,
        public_key=material.public_key,
    )
    passphrase = material.passphrase
    sealed = SealedPair(
        vault.seal(material.private_key.expose(), private_key_record(*identity)),
        None if passphrase is None else vault.seal(passphrase.expose(), passphrase_record(*identity)),
    )
    if place.rotation is None:
        app.pgp_keys.add(key, sealed, actor=actor, before_commit=before_commit)
    elif place.version == place.rotation.former.version:
        app.pgp_keys.renew(key, sealed, actor=actor)
    else:
        until = place.rotation.previous_until
        app.pgp_keys.rotate(key, sealed, previous_until=until, actor=actor, before_commit=before_commit)
    return key
