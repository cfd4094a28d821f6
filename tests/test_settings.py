"""Settings: one file, the environment over it, every problem at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import pytest

from ingest.settings import Settings, SettingsInvalid, find_settings_file, load_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SEALDROP_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sealdrop.toml"


def problems_of(file: Path) -> list[str]:
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(file)
    return raised.value.problems


def test_environment_is_over_file_and_file_over_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[door]\nport = 1\nmax_handles = 7\n[mail]\nport = 2\n")
    monkeypatch.setenv("SEALDROP_DOOR__PORT", "3")
    monkeypatch.setenv("SEALDROP_LOG_LEVEL", "debug")
    settings = load_settings(file)
    assert (settings.door.port, settings.door.max_handles, settings.mail.port) == (3, 7, 2)
    assert (settings.door.host, settings.log_level) == ("127.0.0.1", "debug")


def test_relative_paths_are_relative_to_the_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('data_dir = "data"\n[vault]\nmaster_key_file = "/etc/key"\n[mail]\npassword_file = "~/smtp"\n')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", "/home/someone")
    settings = load_settings(Path("../sealdrop.toml"))
    assert settings.data_dir == tmp_path / "data"
    assert settings.spool_dir == tmp_path / "data" / "spool"
    assert settings.lake_dir == tmp_path / "data" / "lake"
    assert settings.ledger == f"sqlite:///{tmp_path}/data/ledger.db"
    assert settings.door.host_key_file == tmp_path / "ssh_host_ed25519_key"
    assert settings.vault.master_key_file == Path("/etc/key")
    assert settings.mail.password_file == Path("/home/someone/smtp")
    assert settings.mail.ca_file is None


def test_defaults_alone_are_relative_to_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None).data_dir == tmp_path / "sealdrop-data"


def test_every_problem_is_told_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('colour = 1\n[door]\nport = 70000\nprot = 1\n[worker]\nlease_s = 0\n[mail]\nsecurity = "ssl"\n')
    monkeypatch.setenv("SEALDROP_RESULTS__MAX_REJECTS_SHOWN", "many")
    monkeypatch.setenv("SEALDROP_DOR__PORT", "1")
    text = "\n".join(problems_of(file))
    for place in (
        "colour",
        "door.port",
        "door.prot",
        "worker.lease_s",
        "mail.security",
        "results.max_rejects_shown",
        "SEALDROP_DOR__PORT",
    ):
        assert place in text
    assert str(file) in text


@pytest.mark.parametrize("name", ["SEALDROP_DOR__PORT", "sealdrop_dor__port"])
def test_section_that_does_not_exist_is_refused_in_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file.write_text("")
    monkeypatch.setenv(name, "1")
    assert problems_of(file) == [f"environment: {name}: there is no section of this name"]


def test_variables_that_are_no_settings_are_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container platform names its own variables after the service."""
    file.write_text("")
    for name in ("SEALDROP_MASTER_KEY", "SEALDROP_PORT", "SEALDROP_SERVICE_HOST", "OTHER__THING"):
        monkeypatch.setenv(name, "tcp://10.0.0.1:22")
    assert load_settings(file).door.port == 2222


@pytest.mark.parametrize("content", [b"[door\n", b"\xff", b"port = 1\nport = 2\n"])
def test_file_that_is_no_toml_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    (problem,) = problems_of(file)
    assert problem.startswith(f"{file}: ")


def test_file_that_cannot_be_read_is_named() -> None:
    (problem,) = problems_of(Path("/proc/self/mem"))  # opens, and fails at the first byte, also for root
    assert problem.startswith("/proc/self/mem cannot be read: ")


def test_ledger_url_that_is_none_is_told_without_the_value(file: Path) -> None:
    file.write_text('ledger_url = "canary password"\n')
    (problem,) = problems_of(file)
    assert "ledger_url" in problem
    assert "canary" not in problem


def test_settings_cannot_be_changed(file: Path) -> None:
    file.write_text("")
    with pytest.raises(ValueError, match="frozen"):
        setattr(load_settings(file).door, "port", 1)  # noqa: B010  (written out, mypy refuses it already)


def report_back(settings: Settings, answers: multiprocessing.queues.Queue[Settings]) -> None:
    answers.put(settings)


def test_settings_survive_the_way_to_a_spawned_process(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[mail]\nhost = "relay.example"\n')
    monkeypatch.setenv("SEALDROP_DOOR__PORT", "3")
    settings = load_settings(file)
    monkeypatch.delenv("SEALDROP_DOOR__PORT")
    assert pickle.loads(pickle.dumps(settings)) == settings
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=report_back, args=(settings, answers))
    process.start()
    assert answers.get(timeout=60) == settings
    process.join()
    process.close()
    answers.close()


def test_settings_file_is_the_given_one_or_the_first_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsInvalid, match="sealdrop init"):
        find_settings_file(Path("nowhere.toml"))
    Path("sealdrop.toml").write_text("")
    assert find_settings_file(None) == Path("sealdrop.toml")
    Path("other.toml").write_text("")
    assert find_settings_file(Path("other.toml")) == Path("other.toml")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('certificate_file = "a.pem"', "come together"),
        ('allow_plain = true\nhost = "0.0.0.0"', "loopback"),
        ('allow_plain = true\nhost = "api.example.com"', "loopback"),
        ('allow_plain = true\ncertificate_file = "a"\nkey_file = "b"', "no allow_plain"),
        ('client_certificates = "required"', "needs TLS"),
        ("redirect_port = 80", "public_url"),
        ('public_url = "http://api.example.com"', "https://"),
        ('public_url = "https://api.example.com/path"', "https://"),
        ('exempt_sources = "host.example"', "names of hosts"),
    ],
)
def test_http_is_never_half_protected(file: Path, lines: str, problem: str) -> None:
    file.write_text(f"[http]\n{lines}\n")
    (told,) = problems_of(file)
    assert "http" in told
    assert problem in told


def test_http_is_off_until_it_has_a_certificate(file: Path) -> None:
    file.write_text("")
    assert not load_settings(file).http.enabled
    file.write_text('[http]\ncertificate_file = "a.pem"\nkey_file = "a.key"\n')
    http = load_settings(file).http
    assert http.enabled
    assert http.key_file == file.parent / "a.key"
