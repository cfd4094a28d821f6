"""`sealdrop check`: what would fail later is found now."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.app import App
from ingest.checks import Finding, Verdict, run_checks
from ingest.client_authorities import read_authority
from ingest.installation import Choices, initialise
from ingest.keyring import private_key_record
from ingest.ledger.pgp_keys import PgpKey, SealedPair
from ingest.ledger.ssh_keys import SshKey
from ingest.settings import Settings
from ingest.states import PairState
from tests.http.certificates import Authority
from tests.support.served import Post

NewApp = Callable[..., App]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return initialise(tmp_path / "sealdrop", Choices(host="127.0.0.1", port=2222, mail_host="", mail_port=587))


@pytest.fixture
def new_app(settings: Settings) -> Iterator[NewApp]:
    """The installation's parts, with other settings in a section where given."""
    apps: list[App] = []

    def make(**sections: dict[str, Any]) -> App:
        update = {name: getattr(settings, name).model_copy(update=values) for name, values in sections.items()}
        apps.append(App(settings.model_copy(update=update)))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture(scope="module")
def relay() -> Iterator[int]:
    """The port of a real SMTP server, without TLS."""
    post = Post()
    yield post.port
    post.close()


def found(app: App, check: str) -> Finding:
    (finding,) = [finding for finding in run_checks(app) if finding.check == check]
    return finding


def verdict(app: App, check: str) -> Verdict:
    return found(app, check).verdict


def test_findings_are_in_a_fixed_order_and_change_nothing(new_app: NewApp, settings: Settings) -> None:
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in settings.data_dir.parent.rglob("*") if path.is_file()}

    app, before = new_app(), state()
    first = [finding.check for finding in run_checks(app)]
    assert [finding.check for finding in run_checks(app)] == first
    assert state() == before


def test_relay_that_answers_is_well(new_app: NewApp, relay: int) -> None:
    app = new_app(mail={"host": "127.0.0.1", "port": relay, "security": "none"})
    assert verdict(app, "mail") is Verdict.OK


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_relay_without_the_protection_asked_for_fails(new_app: NewApp, relay: int, security: str) -> None:
    """FAULTS M4: TLS is required unless the settings say otherwise."""
    app = new_app(mail={"host": "127.0.0.1", "port": relay, "security": security, "timeout_s": 2.0})
    finding = found(app, "mail")
    assert finding.verdict is Verdict.FAIL
    assert "mail.security" in finding.text


def test_relay_that_does_not_answer_fails(new_app: NewApp) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        app = new_app(mail={"host": "127.0.0.1", "port": taken.getsockname()[1], "security": "none"})
        assert verdict(app, "mail") is Verdict.FAIL


def test_password_file_for_the_relay_must_be_there_and_private(new_app: NewApp, relay: int, tmp_path: Path) -> None:
    file = tmp_path / "smtp_password"
    app = new_app(mail={"host": "127.0.0.1", "port": relay, "security": "none", "password_file": file})
    assert verdict(app, "mail password") is Verdict.FAIL
    file.write_text("canary")
    file.chmod(0o644)
    assert "chmod 600" in found(app, "mail password").text
    file.chmod(0o600)
    assert verdict(app, "mail password") is Verdict.OK
    assert "canary" not in repr(run_checks(app))


def test_data_folder_that_others_can_read_is_told(new_app: NewApp, settings: Settings) -> None:
    settings.data_dir.chmod(0o755)
    finding = found(new_app(), "data folder")
    assert (finding.verdict, "chmod 700" in finding.text) == (Verdict.WARN, True)


def test_master_key_and_host_key_that_are_gone_fail(new_app: NewApp, settings: Settings) -> None:
    """FAULTS K2."""
    app = new_app()
    settings.vault.master_key_file.unlink()
    settings.door.host_key_file.unlink()
    assert verdict(app, "master key") is verdict(app, "host key") is Verdict.FAIL
    assert not settings.vault.master_key_file.exists()


@pytest.mark.parametrize(("days", "told"), [(365, False), (29, True), (-1, True)])
def test_pair_that_expires_soon_is_told(new_app: NewApp, days: int, *, told: bool) -> None:
    app = new_app()
    app.accounts.add("acme", now=app.now(), actor="test", contact_addresses=["data@acme.example"])
    key = PgpKey(
        key_id=str(uuid.uuid4()),
        account="acme",
        state=PairState.ACTIVE,
        fingerprint="A" * 40,
        algorithm="RSA 3072",
        user_ids=("acme",),
        created_at=app.now(),
        expires_at=app.now() + timedelta(days=days),
        last_used_at=None,
        signatures="verify",
        public_key=b"public",
    )
    vault = app.open_vault()
    sealed = vault.seal(b"private", private_key_record("acme", key.key_id, 1))
    app.pgp_keys.add(key, SealedPair(sealed, None), actor="test")
    assert (f"{key.key_id} expire" in found(app, "account acme").text) == told
    day = app.now() + timedelta(days=3)
    app.pgp_keys.move([key], PairState.RETIRING, actor="test", now=app.now(), retires_at=day)
    assert f"{key.key_id} {'expires' if days < 0 else 'retires'}" in found(app, "account acme").text
    new = replace(key, version=2, fingerprint="B" * 40, expires_at=None)
    sealed = vault.seal(b"private", private_key_record("acme", key.key_id, 2))
    app.pgp_keys.rotate(new, SealedPair(sealed, None), previous_until=day, actor="test")
    assert key.key_id not in found(app, "account acme").text, "a previous pair is meant to end"
    app.pgp_keys.move(app.pgp_keys.of_account("acme"), PairState.RETIRED, actor="test", now=app.now())
    assert found(app, "account acme").text.endswith("no key pair that opens files")


def test_gpg_that_the_settings_ask_for_must_be_installed(
    new_app: NewApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert verdict(new_app(openpgp={"engine": "gnupg"}), "gpg") is Verdict.FAIL
    assert verdict(new_app(), "gpg") is Verdict.OK


def test_ssh_key_that_expires_is_told_and_an_expired_one_is_none(new_app: NewApp) -> None:
    app = new_app()
    soon, past = (app.now() + timedelta(days=days) for days in (10, -10))
    key = SshKey("SHA256:one", "ssh-ed25519 AAAA")
    app.accounts.add("soon", now=app.now(), actor="test", ssh_public_keys=[replace(key, expires_at=soon)])
    other = replace(key, fingerprint="SHA256:two", expires_at=past)
    app.accounts.add("past", now=app.now(), actor="test", ssh_public_keys=[other])
    assert f"SSH key SHA256:one expires on {soon:%Y-%m-%d}" in found(app, "account soon").text
    assert "no SSH key" not in found(app, "account soon").text
    assert "no SSH key" in found(app, "account past").text


def test_http_is_off_or_has_a_certificate_that_holds(new_app: NewApp, tmp_path: Path) -> None:
    assert found(new_app(), "http").verdict is Verdict.OK
    assert "off" in found(new_app(), "http").text
    assert found(new_app(http={"allow_plain": True}), "http").verdict is Verdict.WARN
    authority = Authority("servers")
    for days, verdict in ((60, Verdict.OK), (5, Verdict.WARN), (-1, Verdict.FAIL)):
        certificate, key = authority.server(tmp_path, days=days)
        app = new_app(http={"certificate_file": certificate, "key_file": key})
        assert found(app, "http certificate").verdict is verdict
        assert found(app, "http key").verdict is Verdict.OK
    key.chmod(0o640)
    assert found(app, "http key").verdict is Verdict.FAIL
    key.chmod(0o644)
    assert "chmod 600" in found(app, "http").text
    key.unlink()
    assert found(app, "http").verdict is Verdict.FAIL


def test_ca_of_an_account_needs_mutual_tls(new_app: NewApp, tmp_path: Path) -> None:
    authority = Authority("acme CA")
    certificate, key = authority.server(tmp_path)
    tls = {"certificate_file": certificate, "key_file": key}
    app = new_app(http=tls)
    app.accounts.add("acme", now=app.now(), actor="test")
    app.api_accesses.add_authority("acme", read_authority(authority.pem, app.now()), now=app.now(), actor="test")
    assert found(app, "client CA").verdict is Verdict.FAIL
    app = new_app(http={**tls, "client_certificates": "optional"})
    assert found(app, "client CA").verdict is Verdict.WARN  # it ends within 30 days
