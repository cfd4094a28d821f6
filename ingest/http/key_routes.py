"""Public keysets over HTTP: ours for requests to fetch, the customer's for responses to put."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.app import App
from ingest.errors import AlreadyThere
from ingest.http.authentication import Caller
from ingest.http.problems import Problem
from ingest.http.recent import Recent
from ingest.keyset_custody import add_response_keyset, export_request_keyset
from ingest.ledger.keysets import Keyset
from keystore.errors import KeysetRejected
from keystore.tink_keyset import PublicKeyset


class KeyRoutes:
    """The endpoints about keysets; what they change in the audit is done by ``api:<credential>``."""

    def __init__(self, app: App, response_keysets: Recent[PublicKeyset | None]) -> None:
        self._app = app
        self._response_keysets = response_keysets
        self._overlap = timedelta(days=app.settings.http.keyset_overlap_days)

    def routes(self) -> list[Route]:
        """Both routes."""
        return [
            Route("/1/keys/request.json", self._request_keyset, methods=["GET"]),
            Route("/1/keys/response.json", self._put_response_keyset, methods=["PUT"]),
        ]

    async def _request_keyset(self, request: Request) -> Response:
        """Our public keyset in Tink's JSON, and nothing around it: Tink reads the body as it is."""
        account = request.state.account
        if await asyncio.to_thread(self._app.keysets.primary, account, "request") is None:
            raise Problem(
                404,
                "keys.no_request_keyset",
                "There is no keyset for your requests yet. Ask whoever runs this service to make one.",
            )
        keyset = await asyncio.to_thread(export_request_keyset, self._app, account, actor=_actor(request))
        return Response(keyset.as_json(), media_type="application/json")

    async def _put_response_keyset(self, request: Request) -> Response:
        """The body is the customer's public keyset, in JSON or binary; the one before it becomes the previous one."""
        account, data = request.state.account, await request.body()
        try:
            stored = await asyncio.to_thread(
                add_response_keyset,
                self._app,
                account,
                data,
                keep_former=self._overlap,
                actor=_actor(request),
            )
        except KeysetRejected as error:
            raise Problem(400, error.code, error.public) from None
        except AlreadyThere:
            raise Problem(409, "keys.already_there", "This is your primary keyset for responses already.") from None
        self._response_keysets.forget(account)
        former = None if stored.former is None else _facts(stored.former)
        return JSONResponse({"status": "success", "keyset": _facts(stored.keyset), "former": former})


def _facts(keyset: Keyset) -> dict[str, object]:
    return {
        "keyset_id": keyset.keyset_id,
        "until": None if keyset.until is None else keyset.until.isoformat(),
        "key_ids": [key.tink_key_id for key in PublicKeyset.read(keyset.public_keyset).keys],
    }


def _actor(request: Request) -> str:
    caller: Caller = request.state.caller
    return f"api:{caller.credential_id}"
