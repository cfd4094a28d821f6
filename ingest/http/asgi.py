"""The application: its layers in the order in which a request goes through them.

connections and headers (ingest.http.protocol) > framing and route > rate of the source > authentication and scope
> [the answer is sealed from here on] > limits and addresses of the account > limits of the body > HPKE > endpoint
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from ingest.app import App
from ingest.http.admission import AccountLimits, SourceLimit
from ingest.http.answers import Answers
from ingest.http.authentication import Authentication, Authenticator
from ingest.http.bodies import Bodies
from ingest.http.hpke import OpenedBodies, SealedAnswers
from ingest.http.key_routes import KeyRoutes
from ingest.http.oauth import OAuth
from ingest.http.openapi import describe
from ingest.http.openings import Openings
from ingest.http.passcodes import Passcodes
from ingest.http.problems import Problem, answer_problem
from ingest.http.recent import Recent
from ingest.keyset_custody import active_request_keysets, response_keyset
from ingest.ledger.api_access import ApiAccess
from ingest.token_custody import open_token_keys
from keystore.access_token import TokenKey
from keystore.active_keysets import ActiveKeysets
from keystore.tink_keyset import PublicKeyset


def make_app(app: App, routes: Sequence[BaseRoute], *, openings: Openings, passcodes: Passcodes) -> ASGIApp:
    """The whole application around the endpoints of ``routes``; there must be a key for tokens."""
    settings = app.settings.http
    keep_s = settings.refresh_s
    accesses: Recent[ApiAccess | None] = Recent(app.api_accesses.of, keep_s=keep_s)
    token_keys: Recent[Sequence[TokenKey]] = Recent(lambda _: open_token_keys(app), keep_s=keep_s)
    requests: Recent[ActiveKeysets] = Recent(lambda account: active_request_keysets(app, account), keep_s=keep_s)
    responses: Recent[PublicKeyset | None] = Recent(lambda account: response_keyset(app, account), keep_s=keep_s)
    authenticator = Authenticator(settings, accesses=accesses, token_keys=token_keys, passcodes=passcodes, now=app.now)
    ours = [
        *KeyRoutes(app, responses).routes(),
        *OAuth(settings, authenticator, token_keys, app.now).routes(),
        Route("/1/openapi.json", describe, methods=["GET"]),
    ]
    layered: ASGIApp = ExceptionMiddleware(
        Router([*ours, *routes], default=_nothing_here), handlers={Problem: answer_problem}
    )
    layered = OpenedBodies(layered, requests, openings, app.now)
    layered = Bodies(layered, settings)
    layered = AccountLimits(layered, settings)
    layered = SealedAnswers(layered, responses)
    layered = Authentication(layered, authenticator)
    layered = SourceLimit(layered, settings)
    return Answers(layered, settings)


async def _nothing_here(_connection: Connection, _receive: Receive, _send: Send) -> None:
    """A path of the table that no endpoint takes."""
    raise Problem(404, "http.path", "There is nothing at this path.")
