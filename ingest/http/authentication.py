"""Who sends a request: an account ID with a passcode, or a bearer token; decided before a byte of the body is read.

The answer is the same whatever is wrong, and an unknown account costs the same work as a wrong passcode (FAULTS.md H9).
Tries that fail are counted for the source, and for the credential that the passcode names: whoever does not know a
credential's ID cannot use up the tries of its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from ingest.addresses import read_addresses, source_of
from ingest.client_authorities import is_issued_by, thumbprint
from ingest.http.buckets import Buckets
from ingest.http.passcodes import Passcodes
from ingest.http.problems import Problem
from ingest.http.recent import Recent
from ingest.http.scopes import SCOPES, Scope
from ingest.http.settings import HttpSettings
from ingest.ledger.api_access import ApiAccess, Credential
from keystore.access_token import Grant, TokenKey, read_token
from keystore.passcode import credential_id_of

_ACCOUNT_HEADERS = ("x-clevertap-account-id", "x-account-id")
_PASSCODE_HEADERS = ("x-clevertap-passcode", "x-passcode")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}  # RFC 6750 §3
TOKENS = "tokens"  # what the recent token keys are kept under
_FAILED = (
    "The account and its passcode, or the token, are not valid here. Send X-Account-Id and X-Passcode, or "
    "Authorization: Bearer with a token that is not over."
)


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a request comes from; ``certificate`` is what the client showed in the TLS handshake, in DER."""

    address: str
    certificate: bytes | None

    @classmethod
    def of(cls, connection: Connection) -> Peer:
        """The peer of a request; one that came through a socket without addresses has an empty one."""
        client = connection.get("client")
        return cls(client[0] if client else "", connection["state"].get("client_certificate"))


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is, and what it may do."""

    access: ApiAccess
    credential_id: str
    scopes: frozenset[str]


class Authenticator:
    """Tells who a caller is. Raises a `Problem` for everybody else."""

    def __init__(
        self,
        settings: HttpSettings,
        *,
        accesses: Recent[ApiAccess | None],
        token_keys: Recent[Sequence[TokenKey]],
        passcodes: Passcodes,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._accesses = accesses
        self._token_keys = token_keys
        self._passcodes = passcodes
        self._now = now
        self._exempt = read_addresses(settings.exempt_sources)
        per_min = settings.source_failures_per_min, settings.credential_failures_per_min
        self._source_tries, self._credential_tries = (Buckets(most / 60, most) for most in per_min)

    async def caller(self, headers: Headers, peer: Peer) -> Caller:
        """Who sent these headers."""
        account, passcode = _only(headers, _ACCOUNT_HEADERS), _only(headers, _PASSCODE_HEADERS)
        authorization = _only(headers, ("authorization",))
        if authorization is not None and passcode is not None:
            raise Problem(400, "auth.ambiguous", "Send a passcode or a token, not both.")
        if authorization is not None:
            return await self._bearer(authorization, account, peer)
        if account is None or passcode is None:
            raise failed()
        return await self.passcode_caller(account, passcode, peer)

    async def passcode_caller(self, account: str, passcode: str, peer: Peer) -> Caller:
        """Who has this passcode of the account."""
        access = await self._accesses.get(account)
        credential = self._passcodes.remembered(access, passcode)
        if credential is None:
            credential = await self._tried(account, access, passcode, peer)
        if access is None or credential is None:
            raise failed()
        self._check_certificate(access, peer)
        return Caller(access, credential.credential_id, frozenset(credential.scopes))

    async def _tried(self, account: str, access: ApiAccess | None, passcode: str, peer: Peer) -> Credential | None:
        """The credential of a passcode that is not known yet, within the tries that there are."""
        takings = [(self._credential_tries, f"{account}\0{credential_id_of(passcode)[:32]}")]
        if not self._exempt.matches(peer.address):
            takings.insert(0, (self._source_tries, source_of(peer.address)))
        for bucket, key in takings:
            if (wait_s := bucket.take(key)) > 0:
                raise too_many("auth.too_many_failures", "Too many logins failed.", wait_s)
        credential = await self._passcodes.check(access, passcode)
        if credential is not None:
            for bucket, key in takings:
                bucket.give_back(key)
        return credential

    async def _bearer(self, authorization: str, account: str | None, peer: Peer) -> Caller:
        scheme, _, token = authorization.partition(" ")
        keys = await self._token_keys.get(TOKENS)
        now = int(self._now().timestamp())
        grant = None
        if scheme.lower() == "bearer":
            grant = read_token(token.strip(), keys, issuer=self._settings.issuer, now=now)
        if grant is None or account not in (None, grant.account) or not _is_bound_to(grant, peer):
            raise failed(error="invalid_token")
        access = await self._accesses.get(grant.account)
        credential = None if access is None else access.credentials.get(grant.credential_id)
        if access is None or credential is None:
            raise failed(error="invalid_token")
        self._check_certificate(access, peer)
        return Caller(access, grant.credential_id, frozenset(grant.scopes) & frozenset(credential.scopes))

    def _check_certificate(self, access: ApiAccess, peer: Peer) -> None:
        if not access.authorities:
            return
        if peer.certificate is None or not is_issued_by(peer.certificate, access.authorities):
            raise Problem(
                401,
                "auth.certificate",
                "This account needs a client certificate by its own CA. Show it in the TLS handshake.",
                _CHALLENGE,
            )


class Authentication:
    """Lets through what an account may do, with ``account`` and ``caller`` in the request's state."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Authenticate, then look at the scope."""
        needed = SCOPES[connection["path"], connection["method"]]
        if needed is not None:
            caller = await self._authenticator.caller(Headers(scope=connection), Peer.of(connection))
            connection["state"]["account"] = caller.access.account
            connection["state"]["caller"] = caller
            if needed not in caller.scopes:
                raise _not_allowed(needed)
        await self._app(connection, receive, send)


def failed(*, error: str | None = None) -> Problem:
    """The one answer to whoever is not let in."""
    challenge = _CHALLENGE if error is None else {"WWW-Authenticate": f'Bearer error="{error}"'}
    return Problem(401, "auth.failed", _FAILED, challenge)


def too_many(code: str, text: str, wait_s: float) -> Problem:
    """The answer to whoever comes too often."""
    seconds = max(1, round(wait_s + 0.5))
    return Problem(429, code, f"{text} Try again in {seconds} seconds.", {"Retry-After": str(seconds)})


def _not_allowed(needed: Scope) -> Problem:
    challenge = f'Bearer error="insufficient_scope", scope="{needed}"'  # RFC 6750 §3.1
    return Problem(
        403,
        "auth.scope",
        f"This credential lacks the scope {needed}. Use another one.",
        {"WWW-Authenticate": challenge},
    )


def _only(headers: Headers, names: Sequence[str]) -> str | None:
    """The value of a header under any of its names. Raises a `Problem` when there are several."""
    values = [value for name in names for value in headers.getlist(name)]
    if len(values) > 1:
        raise Problem(400, "auth.ambiguous", f"Send one header {names[-1]}.")
    return values[0] if values else None


def _is_bound_to(grant: Grant, peer: Peer) -> bool:
    """Whether the token may come with this connection (RFC 8705 §3)."""
    if grant.certificate is None:
        return True
    return peer.certificate is not None and thumbprint(peer.certificate) == grant.certificate
