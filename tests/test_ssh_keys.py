"""Lines of an authorized_keys file."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncssh
import pytest

from ingest.ssh_keys import SshKeyRejected, read_expiry, read_ssh_key, read_ssh_keys

KEY = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().strip()


def test_key_without_options_is_kept_without_its_comment() -> None:
    key = read_ssh_key(f'  {KEY} ann@laptop from="10.0.0.1" \n')
    assert key.public_key == " ".join(KEY.split()[:2])
    assert (key.sources, key.expires_at, key.cert_authority) == (None, None, False)


def test_options_that_mean_something_are_honoured_in_any_letter_case() -> None:
    key = read_ssh_key(f'From="192.0.2.0/24,!192.0.2.9",EXPIRY-TIME="20271231Z",restrict,no-pty,cert-authority {KEY} x')
    assert key.sources == "192.0.2.0/24,!192.0.2.9"
    assert key.expires_at == datetime(2027, 12, 31, tzinfo=UTC)
    assert key.cert_authority


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20271231Z", datetime(2027, 12, 31, tzinfo=UTC)),
        ("202712311830Z", datetime(2027, 12, 31, 18, 30, tzinfo=UTC)),
        ("20271231183015Z", datetime(2027, 12, 31, 18, 30, 15, tzinfo=UTC)),
        ("202712311830", datetime(2027, 12, 31, 18, 30).astimezone(UTC)),  # local, as sshd has it
    ],
)
def test_expiry_times_are_those_of_sshd(value: str, expected: datetime) -> None:
    assert read_ssh_key(f'expiry-time="{value}" {KEY}').expires_at == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('command="/bin/backup \\"x y\\""', "the option command cannot be honoured"),
        ('environment="A=b"', "the option environment"),
        ('principals="acme"', "the option principals"),
        ('permitopen="host:22"', "the option permitopen"),
        ("verify-required", "the option verify-required"),
        ("no-touch-required", "the option no-touch-required"),
        ('tunnel="0"', "the option tunnel"),
        ("pty", "the option pty"),
        ("of-tomorrow", "the option of-tomorrow"),
        ('from=""', "list of addresses is empty"),
        ('from="acme.example"', "names of hosts are not looked up"),
        ('from="10.0.0.1",from="10.0.0.2"', "there twice"),
        ('expiry-time="2027-12-31"', "YYYYMMDD"),
        ('expiry-time="20271331Z"', "YYYYMMDD"),
        ('from="10.0.0.1', "no OpenSSH public key"),
        ("restrict,", "no OpenSSH public key"),
        (",", "no OpenSSH public key"),
    ],
)
def test_option_that_cannot_be_honoured_is_refused_by_its_name(options: str, said: str) -> None:
    """FAULTS S8: a restriction that somebody relies on is never passed over."""
    with pytest.raises(SshKeyRejected, match=said):
        read_ssh_key(f"{options} {KEY}")


def test_file_has_a_key_a_line() -> None:
    keys = read_ssh_keys(f"# ours\n\n{KEY} one\nrestrict {KEY} two\n")
    assert [key.public_key for key in keys] == [" ".join(KEY.split()[:2])] * 2
    for text, said in (("# nothing\n", "no SSH public key"), ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "private key")):
        with pytest.raises(SshKeyRejected, match=said):
            read_ssh_keys(text)


def test_date_of_expiry_is_its_beginning_in_utc() -> None:
    assert read_expiry("2027-12-31") == datetime(2027, 12, 31, tzinfo=UTC)
    assert read_expiry("2027-12-31T18:00+02:00") == datetime(2027, 12, 31, 16, tzinfo=UTC)
    with pytest.raises(SshKeyRejected, match="2027-12-31"):
        read_expiry("next year")
