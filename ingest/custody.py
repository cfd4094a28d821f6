"""Custody of PGP keys: pairs are checked, sealed, and stored under a key ID that we issue; signers are registered."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Literal

from ingest.app import App
from ingest.keyring import passphrase_record, private_key_record
from ingest.ledger.pgp_keys import PgpKey, SealedPair
from ingest.ledger.signers import RegisteredSigner
from keystore.openpgp import SignaturePolicy
from keystore.pgp_keys import GeneratedPair, KeyFacts, PrivateKey, generate_pair, inspect_private
from keystore.pgp_signer import Signer
from keystore.secret import Secret

PairKind = Literal["rsa3072", "cv25519"]


def import_pair(
    app: App,
    account: str,
    private_key: bytes,
    passphrase: Secret | None,
    *,
    signatures: SignaturePolicy = "verify",
    actor: str,
) -> PgpKey:
    """Store a pair that a customer made.

    Raises `KeyRejected` or `KeyPassphraseWrong` when it would not open files, `AlreadyThere`, `LimitReached`, and
    what the vault raises.
    """
    with app.refusals("key.add", account, actor=actor):
        facts = inspect_private(private_key, passphrase, now=app.now())
        key_id = str(uuid.uuid4())
        transferable = Secret(private_key)
        public_key = PrivateKey.unlock(key_id, transferable, passphrase).public_armored()
        return _store(app, account, key_id, transferable, passphrase, public_key, facts, signatures, actor)


def make_pair(
    app: App,
    account: str,
    kind: PairKind,
    *,
    signatures: SignaturePolicy = "verify",
    actor: str,
    hand_out: Callable[[str, GeneratedPair], None] = lambda _key_id, _pair: None,
) -> PgpKey:
    """Make a pair for an account and store it.

    ``hand_out`` gets the key ID and the pair, once; when it raises, the pair is not stored. Raises `AlreadyThere`,
    `LimitReached`, and what the vault raises.
    """
    key_id = str(uuid.uuid4())
    pair = generate_pair(kind, f"{account} (Sealdrop {key_id})", now=app.now())
    with app.refusals("key.add", account, actor=actor):
        return _store(
            app,
            account,
            key_id,
            pair.private_armored,
            pair.passphrase,
            pair.public_armored,
            pair.facts,
            signatures,
            actor,
            before_commit=lambda: hand_out(key_id, pair),
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


def _store(
    app: App,
    account: str,
    key_id: str,
    private_key: Secret,
    passphrase: Secret | None,
    public_key: bytes,
    facts: KeyFacts,
    signatures: SignaturePolicy,
    actor: str,
    *,
    before_commit: Callable[[], None] = lambda: None,
) -> PgpKey:
    vault = app.open_vault()
    key = PgpKey(
        key_id=key_id,
        account=account,
        state="active",
        fingerprint=facts.fingerprint,
        algorithm=facts.algorithm,
        user_ids=facts.user_ids,
        created_at=app.now(),
        expires_at=facts.expires_at,
        last_used_at=None,
        signatures=signatures,
        public_key=public_key,
    )
    sealed = SealedPair(
        vault.seal(private_key.expose(), private_key_record(account, key_id)),
        None if passphrase is None else vault.seal(passphrase.expose(), passphrase_record(account, key_id)),
    )
    app.pgp_keys.add(key, sealed, actor=actor, before_commit=before_commit)
    return key
