"""The door as OpenSSH's own sftp sees it."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.door.conftest import OpenSite, Site


def test_the_sftp_client_is_installed() -> None:
    assert shutil.which("sftp"), "these tests need OpenSSH's client programs; none of them is skipped"


async def test_put_then_ls_and_get_give_the_same_bytes(site: Site) -> None:
    content = os.urandom(3_000_000)
    (site.folder / "users.csv.gpg").write_bytes(content)
    answer = await site.sftp("put users.csv.gpg", "ls -l", "get users.csv.gpg back", "ls")
    assert (answer.code, answer.err) == (0, "")
    assert (site.folder / "back").read_bytes() == content
    assert "users.csv.gpg" in answer.out
    assert "results" in answer.out
    assert " acme " in answer.out
    assert site.published == [("acme", "users.csv.gpg")]
    assert site.parts() == []


async def test_put_replaces_a_file_that_waits(site: Site) -> None:
    (site.folder / "a").write_text("first and longer")
    (site.folder / "b").write_text("second")
    answer = await site.sftp("put a users.manifest", "put b users.manifest")
    assert answer.code == 0
    assert (site.spool.drop("acme") / "users.manifest").read_text() == "second"
    assert site.published == [("acme", "users.manifest")] * 2


async def test_empty_file_is_published(site: Site) -> None:
    (site.folder / "empty").touch()
    assert (await site.sftp("put empty")).code == 0
    assert (site.spool.drop("acme") / "empty").stat().st_size == 0


async def test_published_file_is_private(site: Site) -> None:
    (site.folder / "a").write_text("x")
    (site.folder / "a").chmod(0o6777)
    assert (await site.sftp("put -p a")).code == 0
    assert (site.spool.drop("acme") / "a").stat().st_mode & 0o7777 == 0o600


async def test_put_with_times_and_modes_works_and_changes_nothing(site: Site) -> None:
    """FAULTS S23: chmod, setuid bits and utimes from clients are ignored, not fatal."""
    (site.folder / "a").write_text("x")
    os.utime(site.folder / "a", (1_000_000_000, 1_000_000_000))
    answer = await site.sftp("put -p a", "chmod 4777 a")
    assert (answer.code, answer.err) == (0, "")
    facts = (site.spool.drop("acme") / "a").stat()
    assert facts.st_mtime > 1_000_000_001
    assert facts.st_mode & 0o7777 == 0o600


async def test_file_over_the_limit_is_refused_with_the_limit_in_words(open_site: OpenSite) -> None:
    """CONTRACT 1: refused while it is being written, with a text that names the limit; the person sees it."""
    async with open_site(max_file_bytes=1_000_000) as site:
        (site.folder / "fits").write_bytes(bytes(1_000_000))
        (site.folder / "big").write_bytes(bytes(1_000_001))
        answer = await site.sftp("put fits", "put big")
        assert answer.code == 1
        assert answer.err.count("A file may have at most 1 MB (1,000,000 bytes)") == 1
        assert site.waiting() == {"fits"}
        assert site.parts() == []
        assert site.published == [("acme", "fits")]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("mkdir folder", "no folders other than /results"),
        ("rmdir results", "no folders other than /results"),
        ("symlink a b", "plain files only"),
        ("ln a b", "hardlink@openssh.com"),
        ("df", "statvfs@openssh.com"),
        ("put a results/a", "can only be read"),
        ("rm results/report.json", "can only be read"),
        ("rename results/report.json report.json", "can only be read"),
        ("rename a results/a", "can only be read"),
        ("chmod 777 results/report.json", "can only be read"),
        ("reput b a", "cannot be continued"),
        ("put a folder/a", "no folders other than /results"),
        ("put a .hidden", "This file name is not allowed"),
        ('put a "a;b"', "This file name is not allowed"),
    ],
)
async def test_refusal_says_why(site: Site, command: str, text: str) -> None:
    """FAULTS S1: no links; the drop is flat; results are read-only."""
    site.spool.write_result("acme", "report.json", b"{}")
    (site.folder / "a").write_text("x")
    (site.folder / "b").write_text("longer")
    answer = await site.sftp("put a", command)
    assert answer.code == 1
    assert text in answer.err
    assert site.waiting() == {"a"}
    assert (site.spool.results("acme") / "report.json").read_bytes() == b"{}"


async def test_results_can_be_listed_and_fetched(site: Site) -> None:
    name = f"{'m' * 119}.manifest.ec491319-9823-48cd-b6a1-6bb0bc666d75.rejects.csv.asc"
    site.spool.write_result("acme", name, b"report")
    answer = await site.sftp("cd results", "ls", "get *", "cd ..", "pwd")
    assert answer.code == 0, answer.err
    assert (site.folder / name).read_bytes() == b"report"
    assert "Remote working directory: /\n" in answer.out


async def test_rename_of_an_upload_in_progress_publishes_it(site: Site) -> None:
    """FAULTS S14: WinSCP and rclone upload under a name of their own and rename at the end."""
    (site.folder / "a").write_text("x")
    answer = await site.sftp("put a users.csv.filepart", "ls")
    assert "filepart" not in answer.out.split("ls")[-1]
    assert site.published == []
    assert (await site.sftp("rename users.csv.filepart users.csv")).code == 0
    assert site.published == [("acme", "users.csv")]
    assert site.waiting() == {"users.csv"}


async def test_waiting_file_can_be_removed(site: Site) -> None:
    (site.folder / "a").write_text("x")
    assert (await site.sftp("put a", "rm a")).code == 0
    assert site.waiting() == set()


async def test_wrong_key_and_unknown_account_are_refused_alike(site: Site) -> None:
    """FAULTS S7: nobody learns which accounts there are; a password is never asked for."""
    wrong = await site.sftp("ls", account="acme", key=site.key("stranger"))
    unknown = await site.sftp("ls", account="nobody", key=site.key("stranger"))
    assert wrong.code == unknown.code == 255
    assert "acme@127.0.0.1: Permission denied (publickey)." in wrong.err
    assert wrong.err.replace("acme", "nobody") == unknown.err


@pytest.mark.parametrize(
    "arguments",
    [["id"], ["-tt", "id"], ["-s", "shell"], ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1", "x"]],
)
async def test_nothing_but_sftp_can_be_asked_for(site: Site, arguments: list[str]) -> None:
    """FAULTS S22: no command, terminal, other subsystem or remote forwarding."""
    answer = await site.ssh(*arguments)
    assert answer.code != 0
    assert "uid" not in answer.out


async def test_scp_in_both_protocols_reaches_no_command(site: Site) -> None:
    """FAULTS S22: scp as a command is refused; scp over SFTP is a put like any other."""
    (site.folder / "a").write_text("x")
    options = [*site.ssh_options, "-i", str(site.key("acme")), "-P", str(site.door.port)]
    old = await site.program("scp", "-O", *options, "a", "acme@127.0.0.1:/a")
    assert old.code != 0
    assert site.waiting() == set()
    assert (await site.program("scp", *options, "a", "acme@127.0.0.1:/a")).code == 0
    assert site.published == [("acme", "a")]


async def test_one_account_sees_nothing_of_another(site: Site) -> None:
    """FAULTS S16: names of another account are names that are not there."""
    (site.folder / "a").write_text("x")
    site.spool.write_result("acme", "report.json", b"{}")
    assert (await site.sftp("put a secret")).code == 0
    answer = await site.sftp(
        "-ls", "-ls results", "-get secret", "-rm secret", "-get ../acme/secret x", account="globex"
    )
    assert "secret" not in "".join(line for line in answer.out.splitlines() if not line.startswith("sftp>"))
    assert "report.json" not in answer.out
    assert not (site.folder / "x").exists()
    assert site.waiting("acme") == {"secret"}


async def test_ciphers_without_the_slow_and_the_weak_ones_are_offered(site: Site) -> None:
    """FAULTS S5, S9: no compression, no chacha20, no CBC."""
    for option in ("Ciphers=chacha20-poly1305@openssh.com", "Ciphers=aes128-cbc", "MACs=hmac-sha1"):
        extra = ["-o", option] + (["-o", "Ciphers=aes128-ctr"] if option.startswith("MACs") else [])
        assert "no matching" in (await site.sftp("ls", extra=extra)).err
    assert (await site.sftp("ls", extra=["-C", "-o", "Ciphers=aes256-ctr"])).code == 0
