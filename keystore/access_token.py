"""Access tokens of the HTTP API: JWTs in the profile of RFC 9068, signed with ES256 by keys that we make.

`joserfc` does the work. A token is read with one algorithm and one type only, whatever its header asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from keystore.secret import Secret

_ALGORITHM = "ES256"  # RFC 7518 §3.4
_TYPE = "at+jwt"  # RFC 9068 §2.1
_CURVE = "P-256"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token grants: ``credential_id`` got it for ``account``; ``until`` is in seconds since 1970.

    ``certificate`` is the SHA-256 of the client certificate that it is bound to, in base64url (RFC 8705 §3.1).
    """

    account: str
    credential_id: str
    scopes: tuple[str, ...]
    until: int
    certificate: str | None = None


class TokenKey:
    """A key that signs tokens; ``kid`` is its thumbprint (RFC 7638 §3)."""

    __slots__ = ("_key", "kid")

    def __init__(self, pem: Secret) -> None:
        self._key = ECKey.import_key(pem.expose())
        self.kid = self._key.thumbprint()

    @classmethod
    def generate(cls) -> TokenKey:
        """A new key."""
        return cls(Secret(ECKey.generate_key(_CURVE, auto_kid=False).as_pem(private=True)))

    def as_pem(self) -> Secret:
        """The private key, for the vault."""
        return Secret(self._key.as_pem(private=True))

    def public_jwk(self) -> dict[str, Any]:
        """The public half, for a set of keys (RFC 7517 §5)."""
        return {**self._key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": _ALGORITHM}

    def sign(self, grant: Grant, *, issuer: str, now: int, token_id: str) -> str:
        """A token for what is granted; its audience is the issuer itself."""
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": issuer,
            "sub": grant.account,
            "client_id": grant.account,
            "credential": grant.credential_id,
            "scope": " ".join(grant.scopes),
            "iat": now,
            "exp": grant.until,
            "jti": token_id,
        }
        if grant.certificate is not None:
            claims["cnf"] = {"x5t#S256": grant.certificate}
        header = {"alg": _ALGORITHM, "typ": _TYPE, "kid": self.kid}
        return jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM])

    def read(self, token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """Header and claims of a token that this key has signed; nothing for any other text."""
        try:
            read = jwt.decode(token, self._key, algorithms=[_ALGORITHM])
        except (JoseError, ValueError):
            return None
        return read.header, read.claims


def read_token(token: str, keys: Sequence[TokenKey], *, issuer: str, now: int) -> Grant | None:
    """What the token grants now; nothing when none of the keys has signed it, it is over, or it is no token of ours."""
    for key in keys:
        read = key.read(token)
        if read is not None:
            header, claims = read
            ours = header.get("typ") == _TYPE and claims.get("iss") == issuer and claims.get("aud") == issuer
            return _grant(claims) if ours and claims["iat"] <= now + 60 and now < claims["exp"] else None
    return None


def _grant(claims: Mapping[str, Any]) -> Grant:
    return Grant(
        account=claims["sub"],
        credential_id=claims["credential"],
        scopes=tuple(claims["scope"].split()),
        until=claims["exp"],
        certificate=claims.get("cnf", {}).get("x5t#S256"),
    )
