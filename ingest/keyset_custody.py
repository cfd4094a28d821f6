"""Custody of HPKE keysets: customers' are checked and stored, ours are made, sealed, opened and handed out."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from ingest.app import App
from ingest.ledger import audit
from ingest.ledger.keysets import Keyset
from ingest.ledger.sealed import REQUEST_KEYSET
from keystore.active_keysets import ActiveKeysets, Previous
from keystore.errors import HpkeCannotOpen, KeysetRejected
from keystore.hpke import HpkePublicKey, Kem
from keystore.tink_keyset import KeysetKey, PrivateKeyset, PublicKeyset


@dataclass(frozen=True, slots=True)
class Stored:
    """A keyset that is primary now, and the ``former`` one, with its end; ``None`` when it is the first."""

    keyset: Keyset
    former: Keyset | None


def add_response_keyset(app: App, account: str, data: bytes, *, keep_former: timedelta, actor: str) -> Stored:
    """Store the public keyset, in JSON or binary, that responses to a customer are sealed to from now on.

    Raises `KeysetRejected` when nothing could be sealed to it that only its owner opens, `AlreadyThere` when it is the
    primary one already.
    """
    with app.refusals("response_keyset.add", account, actor=actor):
        public = PublicKeyset.read(data)
        public.seal(b"a trial", account)  # what cannot be sealed to is noticed now, not at the first response
        if _raw(public.keys) & _raw([key for one in _public_halves(app, account) for key in one.keys]):
            raise KeysetRejected(
                "This is the keyset that we gave out for requests: only we could open what is encrypted to it. Make a "
                "keyset of your own, and upload its public half."
            )
        return _put(app, account, public, None, rotate=True, keep_former=keep_former, actor=actor)


def make_request_keyset(
    app: App, account: str, *, kem: Kem = Kem.X25519, rotate: bool, keep_former: timedelta, actor: str
) -> Stored:
    """Make the keyset that requests of a customer are sealed to from now on; `export_request_keyset` hands it out.

    With ``rotate`` it takes the place of one that is there, which opens requests for ``keep_former`` from now; none or
    less: no more. Raises `AlreadyThere` and `RotationRefused` (`Keysets.put`), and what the vault raises.
    """
    with app.refusals("request_keyset.rotate" if rotate else "request_keyset.add", account, actor=actor):
        taken = {key.tink_key_id for one in _public_halves(app, account) for key in one.keys}
        private = PrivateKeyset.generate(kem, taken=taken)
        return _put(app, account, private.public(), private, rotate=rotate, keep_former=keep_former, actor=actor)


def remove_keyset(app: App, keyset: Keyset, *, actor: str) -> None:
    """Remove a keyset for good. Raises `StillNeeded` for the primary request keyset."""
    with app.refusals(f"{keyset.direction}_keyset.remove", keyset.account, actor=actor):
        app.keysets.remove(keyset, actor=actor, now=app.now())


def active_request_keysets(app: App, account: str) -> ActiveKeysets:
    """What opens the account's requests: the primary keyset, and the previous one unless it has ended.

    Read from the ledger and opened through the vault each time. Raises `HpkeCannotOpen` when the account has no request
    keyset, `RecordTampered` when one is not what was sealed for this account, and what else the vault raises.
    """
    return _opened(app, account)[1]


def export_request_keyset(app: App, account: str, *, actor: str) -> PublicKeyset:
    """The public half of the account's primary request keyset, to be handed out.

    Made from the sealed private half, not read from beside it: whoever can write to the ledger cannot have a keyset of
    their own handed out as ours. Raises what `active_request_keysets` raises.
    """
    with app.refusals("request_keyset.export", account, actor=actor):
        primary_id, active = _opened(app, account)
        with app.database.write() as connection:
            audit.record(
                connection,
                at=app.now(),
                actor=actor,
                action="request_keyset.export",
                subject=primary_id,
                account=account,
            )
        return active.primary.public()


def response_keyset(app: App, account: str) -> PublicKeyset | None:
    """What responses to the account are sealed to: its primary response keyset, or ``None`` when it has none."""
    stored = app.keysets.primary(account, "response")
    return None if stored is None else PublicKeyset.read(stored.public_keyset)


def _opened(app: App, account: str) -> tuple[str, ActiveKeysets]:
    """The ID of the primary request keyset, and what opens requests; a previous one that has ended stays sealed."""
    now = app.now()
    found = [(keyset, sealed) for keyset, sealed in app.keysets.with_private_half(account) if not keyset.has_ended(now)]
    primary_id = next((keyset.keyset_id for keyset, _ in found if keyset.slot == "primary"), None)
    if primary_id is None:
        raise HpkeCannotOpen(detail=f"the account {account} has no request keyset")
    vault = app.open_vault()  # after the keysets were read: so it has the master key that they name
    opened = {
        keyset.keyset_id: PrivateKeyset.read(vault.open(sealed, REQUEST_KEYSET.record_id(account, keyset.keyset_id)))
        for keyset, sealed in found
    }
    previous = next((Previous(opened[one.keyset_id], one.until) for one, _ in found if one.until is not None), None)
    return primary_id, ActiveKeysets(opened[primary_id], previous)


def _put(
    app: App,
    account: str,
    public: PublicKeyset,
    private: PrivateKeyset | None,
    *,
    rotate: bool,
    keep_former: timedelta,
    actor: str,
) -> Stored:
    keyset = Keyset(
        keyset_id=str(uuid.uuid4()),
        account=account,
        direction="response" if private is None else "request",
        slot="primary",
        created_at=app.now(),
        until=None,
        public_keyset=public.as_binary(),
    )
    sealed: bytes | None = None
    if private is not None:
        record = REQUEST_KEYSET.record_id(account, keyset.keyset_id)
        sealed = app.open_vault().seal(private.as_binary().expose(), record)
    until = keyset.created_at + keep_former
    return Stored(keyset, app.keysets.put(keyset, sealed, rotate=rotate, former_until=until, actor=actor))


def _public_halves(app: App, account: str) -> list[PublicKeyset]:
    """Of the account's request keysets."""
    stored = app.keysets.of_account(account)
    return [PublicKeyset.read(one.public_keyset) for one in stored if one.direction == "request"]


def _raw(keys: Collection[KeysetKey[HpkePublicKey]]) -> set[bytes]:
    return {key.key.raw for key in keys}
