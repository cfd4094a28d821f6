"""Who may use the HTTP API of an account: its credentials, the authorities of its client certificates, its HPKE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, RowMapping, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ingest.errors import AlreadyThere, LimitReached, MoveRefused
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import (
    MAX_CLIENT_AUTHORITIES,
    MAX_CREDENTIALS,
    accounts,
    api_credentials,
    client_authorities,
)


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential; ``verifier`` tells its passcode again (`keystore.passcode`)."""

    credential_id: str
    account: str
    scopes: tuple[str, ...]
    verifier: str = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ClientAuthority:
    """A CA that issues client certificates of an account; ``certificate`` is DER, ``fingerprint`` its SHA-256."""

    fingerprint: str
    subject: str
    expires_at: datetime
    certificate: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HpkeRules:
    """What holds for HPKE: it is switched on, it is paid for, and plain requests are refused.

    Nothing is enforced unless it works: otherwise the account could neither encrypt nor send plain.
    """

    enabled: bool
    entitled: bool
    enforced: bool

    @property
    def works(self) -> bool:
        """Whether bodies may be encrypted."""
        return self.enabled and self.entitled


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """What decides about a request of an account that is active."""

    account: str
    sources: str | None
    hpke: HpkeRules
    credentials: Mapping[str, Credential]
    authorities: tuple[ClientAuthority, ...]


class ApiAccesses:
    """Adds, reads and removes what opens the HTTP API."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, account: str) -> ApiAccess | None:
        """What decides about requests of the account; ``None`` when it is unknown or disabled."""
        with self._database.read() as connection:
            row = (
                connection.execute(select(accounts).where(accounts.c.id == account, accounts.c.state == "active"))
                .mappings()
                .one_or_none()
            )
            if row is None:
                return None
            credentials = _rows(connection, api_credentials, account)
            authorities = _rows(connection, client_authorities, account)
        return ApiAccess(
            account=account,
            sources=row["sources"],
            hpke=_hpke(row),
            credentials={one["credential_id"]: _credential(one) for one in credentials},
            authorities=tuple(_authority(one) for one in authorities),
        )

    def hpke(self, account: str) -> HpkeRules:
        """The account's rules for HPKE, also when it is disabled."""
        with self._database.read() as connection:
            return _hpke(connection.execute(select(accounts).where(accounts.c.id == account)).mappings().one())

    def set_hpke(self, account: str, rules: HpkeRules, *, now: datetime, actor: str) -> None:
        """Replace the account's rules for HPKE; the audit says what they are. Raises `MoveRefused`."""
        if rules.enforced and not rules.works:
            raise MoveRefused(
                f"HPKE cannot be enforced for {account} unless it is enabled and entitled: the account could send "
                "nothing at all. Nothing was changed: `--no-enforce` takes the enforcement off."
            )
        values = {"hpke_enabled": rules.enabled, "hpke_entitled": rules.entitled, "hpke_enforced": rules.enforced}
        told = " ".join(f"{name.removeprefix('hpke_')}={'on' if value else 'off'}" for name, value in values.items())
        with self._database.write() as connection:
            connection.execute(update(accounts).where(accounts.c.id == account).values(**values))
            _audited(connection, "hpke.change", account, account, now=now, actor=actor, outcome=told)

    def add_credential(self, credential: Credential, *, actor: str) -> None:
        """Add a credential. Raises `LimitReached`: the slots are a constraint of the database."""
        account, now = credential.account, credential.created_at
        with self._database.write() as connection:
            slot = _free_slot(connection, api_credentials, account, MAX_CREDENTIALS, "credentials")
            connection.execute(
                insert(api_credentials).values(
                    credential_id=credential.credential_id,
                    account=account,
                    slot=slot,
                    scopes=list(credential.scopes),
                    verifier=credential.verifier,
                    created_at=now,
                )
            )
            told = " ".join(credential.scopes)
            _audited(
                connection, "credential.add", credential.credential_id, account, now=now, actor=actor, outcome=told
            )

    def credentials(self, account: str) -> list[Credential]:
        """The account's credentials, oldest first."""
        with self._database.read() as connection:
            found = [_credential(row) for row in _rows(connection, api_credentials, account)]
        return sorted(found, key=lambda one: (one.created_at, one.credential_id))

    def retire_credential(self, account: str, credential_id: str, *, now: datetime, actor: str) -> bool:
        """Let a credential open nothing more, nor the tokens that it got; whether there was one."""
        this = (api_credentials.c.account == account, api_credentials.c.credential_id == credential_id)
        with self._database.write() as connection:
            if connection.execute(delete(api_credentials).where(*this)).rowcount == 0:
                return False
            _audited(connection, "credential.retire", credential_id, account, now=now, actor=actor)
        return True

    def add_authority(self, account: str, authority: ClientAuthority, *, now: datetime, actor: str) -> None:
        """Let an authority issue client certificates for the account. Raises `AlreadyThere`, `LimitReached`."""
        with self._database.write() as connection:
            slot = _free_slot(connection, client_authorities, account, MAX_CLIENT_AUTHORITIES, "client authorities")
            try:
                connection.execute(
                    insert(client_authorities).values(
                        account=account,
                        slot=slot,
                        fingerprint=authority.fingerprint,
                        subject=authority.subject,
                        expires_at=authority.expires_at,
                        certificate=authority.certificate,
                        created_at=now,
                    )
                )
            except IntegrityError:
                raise AlreadyThere(f"The authority {authority.fingerprint} is one of {account} already.") from None
            _audited(connection, "client_ca.add", authority.fingerprint, account, now=now, actor=actor)

    def authorities(self, account: str | None = None) -> list[tuple[str, ClientAuthority]]:
        """The authorities with their accounts: of one account, or of every active one."""
        query = (
            select(client_authorities).join(accounts).order_by(client_authorities.c.account, client_authorities.c.slot)
        )
        wanted = accounts.c.state == "active" if account is None else accounts.c.id == account
        with self._database.read() as connection:
            rows = connection.execute(query.where(wanted)).mappings().all()
        return [(row["account"], _authority(row)) for row in rows]

    def remove_authority(self, account: str, fingerprint: str, *, now: datetime, actor: str) -> bool:
        """Let the authority's certificates open nothing more; whether there was one."""
        this = (client_authorities.c.account == account, client_authorities.c.fingerprint == fingerprint)
        with self._database.write() as connection:
            if connection.execute(delete(client_authorities).where(*this)).rowcount == 0:
                return False
            _audited(connection, "client_ca.remove", fingerprint, account, now=now, actor=actor)
        return True


def _rows(connection: Connection, table: Table, account: str) -> list[RowMapping]:
    return list(connection.execute(select(table).where(table.c.account == account).order_by(table.c.slot)).mappings())


def _free_slot(connection: Connection, table: Table, account: str, most: int, what: str) -> int:
    used = set(connection.scalars(select(table.c.slot).where(table.c.account == account)))
    free = next((slot for slot in range(1, most + 1) if slot not in used), None)
    if free is None:
        raise LimitReached(f"The account {account} has {most} {what}, which is the limit: take one away first.")
    return free


def _audited(
    connection: Connection,
    action: str,
    subject: str,
    account: str,
    *,
    now: datetime,
    actor: str,
    outcome: str = "done",
) -> None:
    audit.record(connection, at=now, actor=actor, action=action, subject=subject, outcome=outcome, account=account)


def _hpke(row: RowMapping) -> HpkeRules:
    return HpkeRules(enabled=row["hpke_enabled"], entitled=row["hpke_entitled"], enforced=row["hpke_enforced"])


def _credential(row: RowMapping) -> Credential:
    return Credential(
        credential_id=row["credential_id"],
        account=row["account"],
        scopes=tuple(row["scopes"]),
        verifier=row["verifier"],
        created_at=row["created_at"],
    )


def _authority(row: RowMapping) -> ClientAuthority:
    return ClientAuthority(
        fingerprint=row["fingerprint"],
        subject=row["subject"],
        expires_at=row["expires_at"],
        certificate=row["certificate"],
    )
