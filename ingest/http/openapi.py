"""The description of the API in OpenAPI 3.1, as it is served at ``/1/openapi.json``; made of the table of routes.

Bodies are described as they are when nothing is encrypted. A body of the media type ``application/octet-stream+hpke``
is the same JSON, sealed.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingest.http.negotiation import MEDIA_TYPE
from ingest.http.scopes import SCOPES, Scope

Json = dict[str, Any]

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_SUCCESS = {"const": "success"}
_DAY = {"type": "integer", "minimum": 19700101, "maximum": 99991231, "description": "YYYYMMDD in UTC."}
_WHO = {
    "identity": {"type": "string", "description": "The sender's own ID of the user, shorter than 1024 characters."},
    "objectId": {"type": "string"},
    "FBID": {"type": "string"},
    "GPID": {"type": "string"},
}
_ABOUT = (
    "Profiles and events in and out. Bodies may be encrypted end to end with HPKE (RFC 9180: X25519, HKDF-SHA256, "
    f"AES-256-GCM; `info` is the account ID): `Content-Type: {MEDIA_TYPE}` marks an encrypted body, `Accept: "
    f"{MEDIA_TYPE}` asks for an encrypted answer, bodies are raw bytes."
)


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *, required: tuple[str, ...] = (), more: bool = True) -> Json:
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": more}
    return {**schema, "required": list(required)} if required else schema


SCHEMAS: Json = {
    "Record": {
        "type": "object",
        "description": "A profile (`type` profile, `profileData`) or an event (`type` event, `evtName`, `evtData`), "
        "with exactly one of identity, objectId, FBID and GPID. A record that breaks a rule is answered among the "
        "unprocessed, with the code of the rule.",
        "properties": {
            "type": {"type": "string", "description": "`profile` or `event`."},
            **_WHO,
            "ts": {"type": "integer", "description": "Epoch seconds; without it, the time of receipt."},
            "evtName": {"type": "string"},
            "evtData": {"type": "object"},
            "profileData": {"type": "object"},
        },
        "examples": [
            {"identity": "user-1", "type": "profile", "profileData": {"Name": "Ada", "Email": "ada@example.com"}},
            {"identity": "user-1", "type": "event", "evtName": "Charged", "ts": 1767225600, "evtData": {"Amount": 3}},
        ],
    },
    "Upload": _object({"d": {"type": "array", "items": {}, "maxItems": 1000}}, required=("d",), more=False),
    "UploadAnswer": _object(
        {
            "status": {"enum": ["success", "partial", "fail"]},
            "processed": {"type": "integer", "minimum": 0},
            "unprocessed": {
                "type": "array",
                "items": _object(
                    {
                        "status": {"const": "fail"},
                        "code": {"type": "integer"},
                        "error": {"type": "string"},
                        "record": {},
                    },
                    required=("status", "code", "error", "record"),
                ),
            },
        },
        required=("status", "processed", "unprocessed"),
    ),
    "EventQuery": _object(
        {"event_name": {"type": "string", "minLength": 1}, "from": _DAY, "to": _DAY},
        required=("event_name", "from", "to"),
    ),
    "Cursor": _object({"cursor": {"type": "string"}, "status": _SUCCESS}, required=("cursor", "status")),
    "EventPage": _object(
        {
            "status": _SUCCESS,
            "next_cursor": {"type": "string", "description": "Absent on the last page."},
            "records": {
                "type": "array",
                "items": _object(
                    {
                        "profile": {"type": "object"},
                        "ts": {"type": "integer", "description": "yyyyMMddHHmmss in UTC."},
                        "event_props": {"type": "object"},
                    },
                    required=("profile", "ts", "event_props"),
                ),
            },
        },
        required=("status", "records"),
    ),
    "ProfileAnswer": _object({"status": _SUCCESS, "record": _ref("Profile")}, required=("status", "record")),
    "Profile": _object(
        {
            "email": {"type": "string"},
            "profileData": {"type": "object"},
            "events": {
                "type": "object",
                "additionalProperties": _object(
                    {
                        "count": {"type": "integer", "minimum": 1},
                        "first_seen": {"type": "integer", "description": "Epoch seconds."},
                        "last_seen": {"type": "integer", "description": "Epoch seconds."},
                    },
                    required=("count", "first_seen", "last_seen"),
                ),
            },
            "platformInfo": {"type": "array", "items": {"type": "object"}},
        },
        required=("profileData", "events", "platformInfo"),
    ),
    "PublicKeyset": {
        "type": "object",
        "description": "A public keyset of Tink in JSON.",
        "required": ["primaryKeyId", "key"],
    },
    "StoredKeyset": _object({"status": _SUCCESS, "keyset": {"type": "object"}}, required=("status", "keyset")),
    "TokenRequest": _object(
        {
            "grant_type": {"const": "client_credentials"},
            "client_id": {"type": "string", "description": "The account ID; not with Basic."},
            "client_secret": {"type": "string", "description": "A passcode; not with Basic."},
            "scope": {"type": "string", "description": "Fewer scopes than the passcode has, separated by spaces."},
        },
        required=("grant_type",),
    ),
    "Token": _object(
        {
            "access_token": {"type": "string"},
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer", "minimum": 1},
            "scope": {"type": "string"},
        },
        required=("access_token", "token_type", "expires_in"),
    ),
    "KeySet": _object({"keys": {"type": "array", "items": {"type": "object"}}}, required=("keys",)),
    "Problem": _object(
        {
            "status": {"const": "fail"},
            "error": {"type": "string", "description": "For people; says what to do."},
            "code": {"type": ["integer", "string"], "description": "Stable, for programs."},
        },
        required=("status", "error", "code"),
    ),
}


def _query(name: str, schema: Json, about: str, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": about, "required": required}


def _one_user() -> list[Json]:
    about = "Exactly one of email, identity and objectId."
    return [_query(name, {"type": "string", "minLength": 1}, about) for name in ("email", "identity", "objectId")]


# summary, schema of the body, schema of the answer, parameters, refusals of its own
_OPERATIONS: dict[tuple[str, str], tuple[str, str | None, str, list[Json], tuple[int, ...]]] = {
    ("/1/upload", "POST"): (
        "Store profiles and events",
        "Upload",
        "UploadAnswer",
        [
            _query("dryRun", {"type": "integer", "enum": [0, 1]}, "With 1 everything is checked and nothing stored."),
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                "description": "The same key with the same body within 24 hours stores nothing twice.",
            },
        ],
        (409, 422),
    ),
    ("/1/events.json", "POST"): (
        "Ask for events of a name between two days",
        "EventQuery",
        "Cursor",
        [_query("batch_size", {"type": "integer", "minimum": 1, "maximum": 5000}, "Events on a page.")],
        (),
    ),
    ("/1/events.json", "GET"): (
        "Read a page of events",
        None,
        "EventPage",
        [_query("cursor", {"type": "string", "minLength": 1}, "From the answer before.", required=True)],
        (410,),
    ),
    ("/1/profile.json", "GET"): ("Read the profile of one user", None, "ProfileAnswer", _one_user(), (404,)),
    ("/1/keys/request.json", "GET"): (
        "The public keyset that requests are encrypted to",
        None,
        "PublicKeyset",
        [],
        (404,),
    ),
    ("/1/keys/response.json", "PUT"): (
        "Upload the public keyset that answers are encrypted to",
        "PublicKeyset",
        "StoredKeyset",
        [],
        (409,),
    ),
    ("/1/oauth/token", "POST"): ("Get an access token", "TokenRequest", "Token", [], ()),
    ("/.well-known/jwks.json", "GET"): ("The public keys that access tokens are signed with", None, "KeySet", [], ()),
    ("/1/openapi.json", "GET"): ("This description", None, "Description", [], ()),
}
_REFUSALS = {
    400: "The request cannot be understood.",
    401: "The account and its passcode, or the token, are not valid.",
    403: "The credential, the address, or the way of encryption is not allowed for this.",
    404: "There is no such thing.",
    406: "There is no keyset of yours to encrypt the answer to.",
    408: "The body came too slowly.",
    409: "It contradicts what is there.",
    410: "The cursor is over.",
    413: "The body is too large.",
    415: "The body is not what its headers say.",
    422: "The same Idempotency-Key came with another body.",
    429: "Too many requests; Retry-After says when to come again.",
    431: "The headers are too large.",
    503: "Not now; Retry-After says when to come again.",
}
_EVERYWHERE = (400, 413, 415, 429, 431, 503)
_WITH_ACCOUNT = (401, 403, 406, 408)


async def describe(request: Request) -> Response:
    """The endpoint; the API is where this request found it."""
    return JSONResponse(description(str(request.base_url).rstrip("/")))


def description(url: str) -> Json:
    """The whole document, for the API at ``url``."""
    paths: Json = {}
    for (path, method), operation in _OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, *operation)
    scopes = {scope.value: scope.value for scope in Scope}
    flow = {"tokenUrl": f"{url}/1/oauth/token", "scopes": scopes}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sealdrop", "version": "1", "description": _ABOUT},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, "Description": {"type": "object", "required": ["openapi", "paths"]}},
            "securitySchemes": {
                "account": {"type": "apiKey", "in": "header", "name": "X-Account-Id"},
                "passcode": {"type": "apiKey", "in": "header", "name": "X-Passcode"},
                "token": {"type": "oauth2", "flows": {"clientCredentials": flow}},
            },
        },
    }


def _operation(
    path: str, method: str, summary: str, body: str | None, answer: str, parameters: list[Json], own: tuple[int, ...]
) -> Json:
    scope = SCOPES[path, method]
    refusals = sorted({*_EVERYWHERE, *own, *(_WITH_ACCOUNT if scope is not None else (401,))})
    operation: Json = {
        "summary": summary,
        "operationId": f"{method.lower()}{path.replace('/', '_').replace('.', '_').replace('-', '_')}",
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": _content(answer, sealed=scope is not None)},
            **{str(one): _refusal(one, sealed=scope is not None) for one in refusals},
        },
        "security": [] if scope is None else [{"account": [], "passcode": []}, {"token": [scope.value]}],
    }
    if body == "TokenRequest":
        operation["requestBody"] = {"required": True, "content": {_FORM: {"schema": _ref(body)}}}
    elif body is not None:
        operation["requestBody"] = {"required": True, "content": _content(body, sealed=True)}
    return operation


def _content(schema: str, *, sealed: bool) -> Json:
    plain = {_JSON: {"schema": _ref(schema)}}
    return {**plain, MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}} if sealed else plain


def _refusal(status: int, *, sealed: bool) -> Json:
    return {"description": _REFUSALS[status], "content": _content("Problem", sealed=sealed)}
