"""A client of the HTTP API: sends and reads profiles and events, with bodies that only the two ends can read.

    with Client("https://sealdrop.example.com", "acme", Secret(passcode), to_us=theirs, to_you=mine) as client:
        client.upload([{"identity": "user-1", "type": "profile", "profileData": {"Name": "Ada"}}])
        for event in client.events("Charged", from_day=20260101, to_day=20260131):
            ...

An upload has an Idempotency-Key, so that it may be sent again when its answer was lost; the service stores it once.
Whatever is sent again waits in between, as long as the service asks. Nothing here touches an installation of Sealdrop:
it runs where the sender is.
"""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from ingest.backoff import next_attempt
from keystore.secret import Secret
from keystore.tink_keyset import PrivateKeyset, PublicKeyset

SEALED = "application/octet-stream+hpke"
_JSON = "application/json"
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_MOST_TRIES = 6
_WAIT_FLOOR_S, _WAIT_CEILING_S = 0.5, 60.0
_RENEW_BEFORE_S = 30.0


class ApiError(Exception):
    """A request to the API came to nothing; ``public`` says why."""

    @property
    def public(self) -> str:
        """The text, for whoever made the request."""
        return str(self)


class ApiRefused(ApiError):
    """The service has refused a request; ``status`` is HTTP's, ``code`` is stable and for programs."""

    def __init__(self, status: int, code: str | int | None, error: str) -> None:
        super().__init__(f"{error} (HTTP {status}, code {code})")
        self.status = status
        self.code = code
        self.error = error


class ApiUnreachable(ApiError):
    """No answer came, however often it was tried."""


class AnswerUnreadable(ApiError):
    """An answer came that is no JSON, or that the keyset at hand does not open."""


class Client:
    """The API at ``url`` for one ``account``. One request at a time; `close` it.

    The ``passcode`` goes with each request, or only to where tokens are made, when requests are to go ``by_token``
    (OAuth 2.0, RFC 6749 §4.4).

    What is sent is sealed ``to_us``, the public keyset that the service gave out; answers are asked for sealed, when
    ``to_you`` can open them: the private half of the keyset that the service was given. ``ca_file`` holds the
    certificates that the service is checked against, when not the system's, ``certificate`` and ``key`` are the files
    of a client certificate. Every method raises `ApiError`.
    """

    def __init__(
        self,
        url: str,
        account: str,
        passcode: Secret,
        *,
        by_token: bool = False,
        to_us: PublicKeyset | None = None,
        to_you: PrivateKeyset | None = None,
        ca_file: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._account = account
        self._passcode = passcode
        self._by_token = by_token
        self._to_us = to_us
        self._to_you = to_you
        self._token: tuple[str, float] | None = None  # and the monotonic second until which it is used
        self._http = httpx.Client(
            base_url=url,
            verify=_trust(ca_file, certificate),
            timeout=timeout_s,
            follow_redirects=False,  # a passcode goes where it was meant to go
            trust_env=False,
        )

    def upload(
        self, records: Sequence[Mapping[str, Any]], *, dry_run: bool = False, key: str | None = None
    ) -> dict[str, Any]:
        """Store at most 1000 records, profiles and events mixed; the answer tells which were not, and why.

        The same ``key`` with the same records within a day stores nothing twice.
        """
        query = {"dryRun": "1"} if dry_run else {}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        answer = self.call("POST", "/1/upload", query=query, body={"d": list(records)}, headers=headers)
        return _object(answer)

    def events(self, name: str, *, from_day: int, to_day: int, page: int = 1000) -> Iterator[dict[str, Any]]:
        """The events of a name between two days (YYYYMMDD, UTC), both included, fetched ``page`` at a time."""
        asked = {"event_name": name, "from": from_day, "to": to_day}
        answer = _object(self.call("POST", "/1/events.json", query={"batch_size": str(page)}, body=asked))
        cursor = answer.get("cursor")
        while cursor:
            answer = _object(self.call("GET", "/1/events.json", query={"cursor": cursor}))
            yield from answer["records"]
            cursor = answer.get("next_cursor")

    def profile(
        self, *, identity: str | None = None, email: str | None = None, object_id: str | None = None
    ) -> dict[str, Any] | None:
        """The profile of one user, by one of the three; ``None`` when there is none."""
        names = {"identity": identity, "email": email, "objectId": object_id}
        query = {name: value for name, value in names.items() if value is not None}
        try:
            record = _object(self.call("GET", "/1/profile.json", query=query))["record"]
        except ApiRefused as refused:
            if refused.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return _object(record)

    def request_keyset(self) -> PublicKeyset:
        """The public keyset that requests are to be sealed to from now on; it changes once a year or more often."""
        answer = self.call("GET", "/1/keys/request.json")
        return PublicKeyset.read(json.dumps(answer).encode())

    def put_response_keyset(self, keyset: PublicKeyset) -> dict[str, Any]:
        """Have answers sealed to this keyset from now on; keep the private half of the one before for a while."""
        return _object(self.call("PUT", "/1/keys/response.json", body=json.loads(keyset.as_json())))

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer to any request of the API, as JSON; requests that change something are sent again only with an
        ``Idempotency-Key`` among the ``headers``.
        """
        content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        given = dict(headers or {})
        given["Accept"] = _JSON if self._to_you is None else SEALED
        if content is not None and self._to_us is not None:
            content, given["Content-Type"] = self._to_us.seal(content, self._account), SEALED
        elif content is not None:
            given["Content-Type"] = _JSON
        repeatable = method in ("GET", "HEAD", "PUT") or path == "/1/events.json" or "Idempotency-Key" in given
        request = self._http.build_request(method, path, params=query, content=content, headers=given)
        return self._read(self._sent(request, repeatable=repeatable))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _sent(self, request: httpx.Request, *, repeatable: bool) -> httpx.Response:
        """The answer to a request, which is sent again while that may help."""
        for attempt in range(1, _MOST_TRIES + 1):
            wait_s = next_attempt(attempt, floor_s=_WAIT_FLOOR_S, ceiling_s=_WAIT_CEILING_S)
            try:
                request.headers.update(self._login())
                response = self._http.send(request)
            except httpx.TransportError as error:
                if not repeatable or attempt == _MOST_TRIES:
                    raise ApiUnreachable(f"{request.url.host} gave no answer: {error}.") from error
            else:
                # too many requests and not available mean that nothing was done
                if response.status_code not in _TRY_AGAIN or attempt == _MOST_TRIES:
                    return response
                if not repeatable and response.status_code not in (429, 503):
                    return response
                wait_s = max(wait_s, _retry_after(response))
            time.sleep(min(wait_s, _WAIT_CEILING_S))
        raise AssertionError("the last try has returned or raised")

    def _login(self) -> dict[str, str]:
        passcode = self._passcode.expose().decode()
        if not self._by_token:
            return {"X-Account-Id": self._account, "X-Passcode": passcode}
        if self._token is None or time.monotonic() > self._token[1]:
            form = {"grant_type": "client_credentials"}
            basic = httpx.BasicAuth(self._account, passcode)
            answer = self._read(self._http.post("/1/oauth/token", data=form, auth=basic))
            self._token = answer["access_token"], time.monotonic() + float(answer["expires_in"]) - _RENEW_BEFORE_S
        return {"Authorization": f"Bearer {self._token[0]}"}

    def _read(self, response: httpx.Response) -> Any:
        content = response.content
        if response.headers.get("Content-Type", "").partition(";")[0].strip() == SEALED:
            opened = None if self._to_you is None else self._to_you.opened(content, self._account)
            if opened is None:
                raise AnswerUnreadable("The answer is encrypted, and not to the keyset that was given.")
            content = opened[1]
        try:
            answer = json.loads(content)
        except ValueError:
            raise AnswerUnreadable(f"The answer (HTTP {response.status_code}) is no JSON: is this the API?") from None
        if response.is_success:
            return answer
        failed = answer if isinstance(answer, dict) else {}
        error = str(failed.get("error", "The request was refused."))
        raise ApiRefused(response.status_code, failed.get("code"), str(failed.get("error_description", error)))


def _trust(ca_file: Path | None, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def _retry_after(response: httpx.Response) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 0.0


def _object(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise AnswerUnreadable("The answer is JSON of another shape than expected: is this the API?")
    return answer
