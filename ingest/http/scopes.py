"""Every route of the API, with what a credential must be allowed to do for it."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """What a credential may do."""

    UPLOAD = "upload"
    EVENTS_READ = "events:read"
    PROFILES_READ = "profiles:read"
    KEYS = "keys"


# path and method; ``None`` is a route that needs no account
SCOPES: dict[tuple[str, str], Scope | None] = {
    ("/1/upload", "POST"): Scope.UPLOAD,
    ("/1/events.json", "POST"): Scope.EVENTS_READ,
    ("/1/events.json", "GET"): Scope.EVENTS_READ,
    ("/1/profile.json", "GET"): Scope.PROFILES_READ,
    ("/1/keys/request.json", "GET"): Scope.KEYS,
    ("/1/keys/response.json", "PUT"): Scope.KEYS,
    ("/1/oauth/token", "POST"): None,
    ("/.well-known/jwks.json", "GET"): None,
    ("/1/openapi.json", "GET"): None,
}


def methods_of(path: str) -> list[str]:
    """The methods that a path takes; none when there is no such path."""
    return sorted(method for known, method in SCOPES if known == path)
