"""OAuth 2.0 client credentials: a short token for an account ID with a passcode (RFC 6749 §4.4), and the keys of them.

The client ID is the account ID, the client secret a passcode, in the header or in the form. Under mutual TLS the token
is bound to the certificate that the client showed (RFC 8705 §3).
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.client_authorities import thumbprint
from ingest.http.authentication import TOKENS, Authenticator, Caller, Peer
from ingest.http.problems import Problem
from ingest.http.recent import Recent
from ingest.http.settings import HttpSettings
from keystore.access_token import Grant, TokenKey

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 10


class OAuth:
    """The token endpoint, and the public keys that tokens are checked with."""

    def __init__(
        self,
        settings: HttpSettings,
        authenticator: Authenticator,
        token_keys: Recent[Sequence[TokenKey]],
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._token_keys = token_keys
        self._now = now

    def routes(self) -> list[Route]:
        """Both routes."""
        return [
            Route("/1/oauth/token", self._token, methods=["POST"]),
            Route("/.well-known/jwks.json", self._keys, methods=["GET"]),
        ]

    async def _token(self, request: Request) -> Response:
        form = _form(request, await request.body())
        account, passcode = _client(request, form)
        if form.get("grant_type") != "client_credentials":
            raise _refused("unsupported_grant_type", "The grant_type is client_credentials.")
        peer = Peer.of(request.scope)
        try:
            caller = await self._authenticator.passcode_caller(account, passcode, peer)
        except Problem as problem:
            if problem.status != 401:
                raise
            raise _refused("invalid_client", problem.error, status=401) from None
        grant = self._grant(caller, form.get("scope", ""), peer)
        signing = (await self._token_keys.get(TOKENS))[0]
        now = int(self._now().timestamp())
        token = signing.sign(grant, issuer=self._settings.issuer, now=now, token_id=secrets.token_urlsafe(12))
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": grant.until - now}
        return JSONResponse({**answer, "scope": " ".join(grant.scopes)})

    def _grant(self, caller: Caller, asked: str, peer: Peer) -> Grant:
        """What the token will grant: what is asked for, or all that the credential has."""
        scopes = sorted(set(asked.split()) or caller.scopes)
        if not caller.scopes.issuperset(scopes):
            raise _refused("invalid_scope", f"This credential has the scopes {' '.join(sorted(caller.scopes))}.")
        return Grant(
            account=caller.access.account,
            credential_id=caller.credential_id,
            scopes=tuple(scopes),
            until=int(self._now().timestamp()) + self._settings.token_s,
            certificate=None if peer.certificate is None else thumbprint(peer.certificate),
        )

    async def _keys(self, _request: Request) -> Response:
        keys = await self._token_keys.get(TOKENS)
        return JSONResponse({"keys": [key.public_jwk() for key in keys]})


def _form(request: Request, body: bytes) -> Mapping[str, str]:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
        raise _refused("invalid_request", f"Send a form: Content-Type: {_FORM}.")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise _refused("invalid_request", "The form cannot be read.") from None
    if len(dict(fields)) < len(fields):  # RFC 6749 §3.2: none more than once
        raise _refused("invalid_request", "A field of the form is there twice.")
    return dict(fields)


def _client(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    """Client ID and secret (RFC 6749 §2.3.1), from the header or the form and not from both."""
    authorization = request.headers.getlist("authorization")
    if not authorization:
        return form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, encoded = authorization[0].partition(" ")
    if len(authorization) > 1 or scheme.lower() != "basic" or "client_secret" in form:
        raise _refused("invalid_request", "Send the client's secret once: with Basic, or in the form.")
    try:
        account, separator, passcode = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        separator = ""
    if not separator:
        raise _refused("invalid_request", "The Authorization header is not client ID, colon, secret in Base64.")
    return unquote_plus(account), unquote_plus(passcode)


def _refused(error: str, description: str, *, status: int = 400) -> Problem:
    """An error in the shape of RFC 6749 §5.2, within ours."""
    headers = {"WWW-Authenticate": 'Basic realm="sealdrop"'} if status == 401 else {}
    return Problem(status, f"oauth.{error}", error, headers, more={"error_description": description})
