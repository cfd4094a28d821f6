"""OAuth 2.0 client credentials and the tokens that they get."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey

from ingest.http.scopes import Scope
from ingest.token_custody import open_token_keys, renew_token_key
from keystore.access_token import Grant, TokenKey
from tests.http.conftest import OpenSite, Site, code_of

FORM = {"grant_type": "client_credentials"}


async def token_of(client: httpx.AsyncClient, passcode: str, **form: str) -> str:
    answer = await client.post("/1/oauth/token", data=FORM | {"client_id": "acme", "client_secret": passcode} | form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


async def upload(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/1/upload", headers={"Authorization": f"Bearer {token}"})


async def test_token_opens_what_it_was_asked_for(open_site: OpenSite) -> None:
    """The secret in the header or in the form (RFC 6749 §2.3.1)."""
    async with open_site(public_url="https://api.example.com") as site, site.client() as client:
        passcode = site.credential("acme", Scope.UPLOAD, Scope.KEYS)
        basic = await client.post("/1/oauth/token", data=FORM, auth=("acme", passcode))
        assert basic.json() | {"access_token": ""} == {
            "access_token": "",
            "token_type": "Bearer",
            "expires_in": 600,
            "scope": "keys upload",
        }
        assert basic.headers["cache-control"] == "no-store"
        assert (await upload(client, basic.json()["access_token"])).json()["account"] == "acme"
        narrow = await token_of(client, passcode, scope="keys")
        assert code_of(await upload(client, narrow)) == (403, "auth.scope")


async def test_anybody_can_check_a_token_with_the_published_keys(open_site: OpenSite) -> None:
    """RFC 7517 and RFC 9068: by another reader than ours, here the library itself."""
    async with open_site(public_url="https://api.example.com") as site, site.client() as client:
        token = await token_of(client, site.credential())
        published = (await client.get("/.well-known/jwks.json")).json()
        assert all("d" not in key and key["alg"] == "ES256" for key in published["keys"])
        read = jwt.decode(token, KeySet.import_key_set(published), algorithms=["ES256"])
        assert (read.header["typ"], read.claims["iss"]) == ("at+jwt", "https://api.example.com")
        assert (read.claims["sub"], read.claims["exp"] - read.claims["iat"]) == ("acme", 600)


async def test_what_the_token_endpoint_refuses(open_site: OpenSite) -> None:
    """RFC 6749 §5.2."""
    async with open_site() as site, site.client() as client:
        passcode = site.credential("acme", Scope.UPLOAD)
        client_form = {"client_id": "acme", "client_secret": passcode}
        wrong = f"Basic {base64.b64encode(b'acme:wrong').decode()}"
        cases: list[tuple[dict[str, Any], int, str]] = [
            ({"data": FORM}, 401, "invalid_client"),
            ({"data": FORM, "headers": {"Authorization": wrong}}, 401, "invalid_client"),
            ({"data": FORM | {"client_id": "nobody", "client_secret": passcode}}, 401, "invalid_client"),
            ({"data": FORM, "headers": {"Authorization": "Basic !"}}, 400, "invalid_request"),
            ({"data": FORM | client_form, "headers": {"Authorization": wrong}}, 400, "invalid_request"),
            ({"json": FORM | client_form}, 400, "invalid_request"),
            ({"data": client_form | {"grant_type": "password"}}, 400, "unsupported_grant_type"),
            ({"data": client_form}, 400, "unsupported_grant_type"),
            ({"data": FORM | client_form | {"scope": "upload keys"}}, 400, "invalid_scope"),
        ]
        for given, status, error in cases:
            answer = await client.post("/1/oauth/token", **given)
            assert (answer.status_code, answer.json()["error"]) == (status, error), given
            assert code_of(answer) == (status, f"oauth.{error}")
            assert answer.json()["error_description"]
            assert ("www-authenticate" in answer.headers) is (status == 401)
        twice = b"grant_type=client_credentials&grant_type=x"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post("/1/oauth/token", headers=form, content=twice)
        assert answer.json()["error"] == "invalid_request"


async def test_token_ends_with_its_time_its_credential_and_its_key(open_site: OpenSite) -> None:
    async with open_site() as site, site.client() as client:
        passcode = site.credential()
        token = await token_of(client, passcode)
        site.now += timedelta(seconds=599)
        assert (await upload(client, token)).status_code == 200
        site.now += timedelta(seconds=1)
        over = await upload(client, token)
        assert code_of(over) == (401, "auth.failed")
        assert over.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        token = await token_of(client, passcode)
        site.app.api_accesses.retire_credential("acme", passcode.split(".")[0], now=site.now, actor="test")
        assert code_of(await upload(client, token)) == (401, "auth.failed")


def forged(site: Site, token: str) -> dict[str, str]:
    """Tokens that look like ours and are not."""
    header, claims, signature = token.split(".")
    other = TokenKey.generate()
    grant = Grant("acme", "x", ("upload",), int(site.now.timestamp()) + 60)
    content = json.loads(base64.urlsafe_b64decode(claims + "=="))

    def encoded(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    secret = OctKey.import_key("a shared secret that is long enough for it")
    return {
        "another key": other.sign(grant, issuer="sealdrop", now=int(site.now.timestamp()), token_id="x"),
        "no algorithm": f"{encoded({'alg': 'none', 'typ': 'at+jwt'})}.{claims}.",
        "another algorithm": jwt.encode({"alg": "HS256", "typ": "at+jwt"}, content, secret),
        "other claims": f"{header}.{encoded(content | {'sub': 'globex'})}.{signature}",
        "no signature": f"{header}.{claims}.",
        "cut": token[:-2],
        "text": "x" * 1000,
        "a passcode": "abc.def",
    }


async def test_token_that_is_not_ours_opens_nothing(open_site: OpenSite) -> None:
    async with open_site() as site, site.client() as client:
        passcode = site.credential()
        token = await token_of(client, passcode)
        for name, bad in forged(site, token).items():
            assert code_of(await upload(client, bad)) == (401, "auth.failed"), name
        both = {"Authorization": f"Bearer {token}", "X-Passcode": passcode}
        assert code_of(await client.post("/1/upload", headers=both)) == (400, "auth.ambiguous")
        named = {"Authorization": f"Bearer {token}", "X-Account-Id": "globex"}
        assert code_of(await client.post("/1/upload", headers=named)) == (401, "auth.failed")


async def test_token_of_another_use_is_refused(open_site: OpenSite) -> None:
    """RFC 9068 §4: type, issuer and audience; signed by our own key."""
    async with open_site() as site, site.client() as client:
        passcode = site.credential()
        signing = open_token_keys(site.app)[0]
        now = int(site.now.timestamp())
        grant = Grant("acme", passcode.split(".")[0], ("upload",), now + 60)
        good = signing.sign(grant, issuer="sealdrop", now=now, token_id="x")
        assert (await upload(client, good)).status_code == 200
        strange = signing.sign(grant, issuer="https://other.example", now=now, token_id="x")
        future = signing.sign(grant, issuer="sealdrop", now=now + 3600, token_id="x")
        for bad in (strange, future):
            assert code_of(await upload(client, bad)) == (401, "auth.failed")


async def test_key_of_tokens_is_replaced_and_the_former_is_believed_for_a_while(open_site: OpenSite) -> None:
    async with open_site() as site, site.client() as client:
        passcode = site.credential()
        site.now += timedelta(days=91)
        before = await token_of(client, passcode)
        renew_token_key(site.app, timedelta(days=90))
        renew_token_key(site.app, timedelta(days=90))  # it is new now
        keys = (await client.get("/.well-known/jwks.json")).json()["keys"]
        assert len(keys) == 2
        assert (await upload(client, before)).status_code == 200
        site.now += timedelta(minutes=6)
        after = await token_of(client, passcode)
        kids = [jwt.decode(one, KeySet.import_key_set({"keys": keys})).header["kid"] for one in (before, after)]
        assert len(set(kids)) == 2
        assert (await upload(client, after)).status_code == 200
        assert len(site.audited("token_key.add")) == 2
