"""The door as the clients see it that customers come with: each through the same way of a sender.

Debian's packages and PyPI have all of them; one that is not installed is skipped by name, and `tests/system-programs`
installs it where that is possible.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import paramiko
import pytest

from tests.door.conftest import Answer, Site, until

CONTENT = random.Random(3).randbytes(700_000)
CUT = 250_000


class Client(ABC):
    """One client program, in the hands of the account ``acme``; each method is one run of it."""

    program = ""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.folder

    @abstractmethod
    async def put(self, file: str, name: str) -> Answer: ...

    @abstractmethod
    async def resume(self, file: str, name: str) -> Answer: ...

    @abstractmethod
    async def list(self, folder: str) -> Answer: ...

    @abstractmethod
    async def rename(self, old: str, new: str) -> Answer: ...

    @abstractmethod
    async def get(self, path: str, file: str) -> Answer: ...

    async def run(self, *command: str | Path, **environment: str) -> Answer:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), **environment},
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return Answer(process.returncode or 0, out.decode(), err.decode())

    @property
    def key(self) -> Path:
        return self.site.key("acme")

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"


class Sftp(Client):
    program = "sftp"

    async def put(self, file: str, name: str) -> Answer:
        return await self.site.sftp(f"put {file} {name}")

    async def resume(self, file: str, name: str) -> Answer:
        return await self.site.sftp(f"reput {file} {name}")

    async def list(self, folder: str) -> Answer:
        return await self.site.sftp(f"ls -l {folder}")

    async def rename(self, old: str, new: str) -> Answer:
        return await self.site.sftp(f"rename {old} {new}")

    async def get(self, path: str, file: str) -> Answer:
        return await self.site.sftp(f"get {path} {file}")


class Scp(Sftp):
    """scp copies; it neither lists nor renames nor resumes, so sftp beside it does these."""

    program = "scp"

    async def put(self, file: str, name: str) -> Answer:
        return await self.run("scp", *self._options, file, f"acme@127.0.0.1:{name}")

    async def get(self, path: str, file: str) -> Answer:
        return await self.run("scp", *self._options, f"acme@127.0.0.1:{path}", file)

    @property
    def _options(self) -> list[str]:
        return [*self.site.ssh_options, "-i", str(self.key), "-P", str(self.site.door.port)]


class Lftp(Client):
    program = "lftp"

    async def put(self, file: str, name: str) -> Answer:
        return await self._lftp(f"put {file} -o {name}")

    async def resume(self, file: str, name: str) -> Answer:
        return await self._lftp(f"put -c {file} -o {name}")

    async def list(self, folder: str) -> Answer:
        return await self._lftp(f"cls -l {folder}")

    async def rename(self, old: str, new: str) -> Answer:
        return await self._lftp(f"mv {old} {new}")

    async def get(self, path: str, file: str) -> Answer:
        return await self._lftp(f"get {path} -o {file}")

    async def _lftp(self, command: str) -> Answer:
        ssh = " ".join(["ssh -a -x", *self.site.ssh_options, "-i", str(self.key)])
        script = (
            f'set sftp:connect-program "{ssh}"; set net:max-retries 1; set cmd:fail-exit true; '
            f"open -u acme,none -p {self.site.door.port} sftp://127.0.0.1; {command}"
        )
        return await self.run("lftp", "--norc", "-c", script)


class Rclone(Client):
    program = "rclone"

    async def put(self, file: str, name: str) -> Answer:
        return await self._rclone("copyto", file, f"drop:{name}")

    async def resume(self, file: str, name: str) -> Answer:
        return await self._rclone("copyto", file, f"drop:{name}")  # it has no way to continue: from the beginning

    async def list(self, folder: str) -> Answer:
        return await self._rclone("lsl", "--max-depth", "1", f"drop:{folder}")

    async def rename(self, old: str, new: str) -> Answer:
        return await self._rclone("moveto", f"drop:{old}", f"drop:{new}")

    async def get(self, path: str, file: str) -> Answer:
        return await self._rclone("copyto", f"drop:{path}", file)

    async def _rclone(self, *command: str) -> Answer:
        remote = {
            "TYPE": "sftp", "HOST": "127.0.0.1", "PORT": str(self.site.door.port), "USER": "acme",
            "KEY_FILE": str(self.key), "KNOWN_HOSTS_FILE": str(self.known_hosts), "SHELL_TYPE": "none",
        }  # fmt: skip
        variables = {f"RCLONE_CONFIG_DROP_{name}": value for name, value in remote.items()}
        options = ("--config", "", "--retries", "1", "--low-level-retries", "1", "--cache-dir", str(self.folder / "rc"))
        return await self.run("rclone", *options, *command, **variables)


class Curl(Client):
    program = "curl"

    async def put(self, file: str, name: str) -> Answer:
        return await self._curl(name, "-T", file)

    async def resume(self, file: str, name: str) -> Answer:
        return await self._curl(name, "-C", "-", "-T", file)

    async def list(self, folder: str) -> Answer:
        return await self._curl(folder.rstrip("/") + "/")

    async def rename(self, old: str, new: str) -> Answer:
        return await self._curl("", "-Q", f"rename /{old} /{new}", "-o", "/dev/null")

    async def get(self, path: str, file: str) -> Answer:
        return await self._curl(path, "-o", file)

    async def _curl(self, path: str, *options: str) -> Answer:
        (self.folder / ".ssh").mkdir(exist_ok=True)
        shutil.copy(self.known_hosts, self.folder / ".ssh" / "known_hosts")
        url = f"sftp://127.0.0.1:{self.site.door.port}/{path.lstrip('/')}"
        login = ("--user", "acme:", "--key", str(self.key), "--pubkey", str(self.folder / "acme.pub"))
        return await self.run("curl", "--disable", "--silent", "--show-error", *login, *options, url)


class Paramiko(Client):
    """The library that most Python jobs use, as they use it."""

    async def put(self, file: str, name: str) -> Answer:
        return await self._do(lambda sftp: sftp.put(str(self.folder / file), name))

    async def resume(self, file: str, name: str) -> Answer:
        def go_on(sftp: paramiko.SFTPClient) -> None:
            size = sftp.stat(name).st_size or 0
            with (self.folder / file).open("rb") as source, sftp.open(name, "ab") as target:
                source.seek(size)
                target.write(source.read())

        return await self._do(go_on)

    async def list(self, folder: str) -> Answer:
        return await self._do(lambda sftp: "\n".join(str(entry) for entry in sftp.listdir_attr(folder)))

    async def rename(self, old: str, new: str) -> Answer:
        return await self._do(lambda sftp: sftp.rename(old, new))

    async def get(self, path: str, file: str) -> Answer:
        return await self._do(lambda sftp: sftp.get(path, str(self.folder / file)))

    async def _do(self, work) -> Answer:  # type: ignore[no-untyped-def]
        def session() -> Answer:
            with self._client() as client, client.open_sftp() as sftp:
                try:
                    return Answer(0, str(work(sftp)), "")
                except OSError as error:
                    return Answer(1, "", str(error))

        return await asyncio.to_thread(session)

    @contextmanager
    def _client(self) -> Iterator[paramiko.SSHClient]:
        client = paramiko.SSHClient()
        client.load_host_keys(str(self.known_hosts))
        client.connect(
            "127.0.0.1", self.site.door.port, "acme", key_filename=str(self.key), allow_agent=False, look_for_keys=False
        )
        try:
            yield client
        finally:
            client.close()


class Asyncssh(Client):
    """The library that we serve with, as a client; its `put` sends many blocks at once."""

    async def put(self, file: str, name: str) -> Answer:
        return await self._do(lambda sftp: sftp.put(self.folder / file, name))

    async def resume(self, file: str, name: str) -> Answer:
        async def go_on(sftp: asyncssh.SFTPClient) -> None:
            size = (await sftp.stat(name)).size or 0
            async with sftp.open(name, "ab") as target:
                await target.write((self.folder / file).read_bytes()[size:])  # a small file

        return await self._do(go_on)

    async def list(self, folder: str) -> Answer:
        async def listed(sftp: asyncssh.SFTPClient) -> str:
            return "\n".join(str(entry.longname) for entry in await sftp.readdir(folder))

        return await self._do(listed)

    async def rename(self, old: str, new: str) -> Answer:
        return await self._do(lambda sftp: sftp.rename(old, new))

    async def get(self, path: str, file: str) -> Answer:
        return await self._do(lambda sftp: sftp.get(path, self.folder / file))

    async def _do(self, work: Callable[[asyncssh.SFTPClient], Awaitable[object]]) -> Answer:
        async with self.site.connect() as connection, connection.start_sftp_client() as sftp:
            try:
                return Answer(0, str(await work(sftp)), "")
            except asyncssh.SFTPError as error:
                return Answer(1, "", error.reason)


@pytest.fixture(params=[Sftp, Scp, Lftp, Rclone, Curl, Paramiko, Asyncssh], ids=lambda kind: kind.__name__.lower())
def client(request: pytest.FixtureRequest, site: Site) -> Client:
    kind: type[Client] = request.param
    if kind.program and shutil.which(kind.program) is None:
        pytest.skip(f"{kind.program} is not installed; tests/system-programs installs it from Debian's package")
    (site.folder / "users.csv.asc").write_bytes(CONTENT)
    return kind(site)


async def test_upload_arrives_whole_and_is_listed(client: Client) -> None:
    answer = await client.put("users.csv.asc", "users.csv.asc")
    assert answer.code == 0, answer.err
    assert (client.site.spool.drop("acme") / "users.csv.asc").read_bytes() == CONTENT
    assert client.site.published == [("acme", "users.csv.asc")]
    listed = await client.list("/")
    assert listed.code == 0, listed.err
    for name in ("users.csv.asc", "README.txt"):
        assert name in listed.out
    assert str(len(CONTENT)) in listed.out


async def test_interrupted_upload_is_continued(client: Client) -> None:
    """FAULTS S14."""
    site = client.site
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        file = await sftp.open("users.csv.asc", "wb")
        await file.write(CONTENT[:CUT])
        connection.abort()
    await until(lambda: len(site.unfinished().get("users.csv.asc", b"")) == CUT)
    answer = await client.resume("users.csv.asc", "users.csv.asc")
    assert answer.code == 0, answer.err
    assert (site.spool.drop("acme") / "users.csv.asc").read_bytes() == CONTENT
    assert site.published == [("acme", "users.csv.asc")]


async def test_name_is_given_at_the_end(client: Client) -> None:
    """FAULTS S14."""
    assert (await client.put("users.csv.asc", "users.csv.asc.part")).code == 0
    assert client.site.published == []
    answer = await client.rename("users.csv.asc.part", "users.csv.asc")
    assert answer.code == 0, answer.err
    assert client.site.published == [("acme", "users.csv.asc")]
    assert (client.site.spool.drop("acme") / "users.csv.asc").read_bytes() == CONTENT


async def test_result_is_listed_and_fetched(client: Client) -> None:
    client.site.spool.write_result("acme", "users.manifest.1.json", b'{"state": "succeeded"}')
    assert "users.manifest.1.json" in (await client.list("/results")).out
    answer = await client.get("/results/users.manifest.1.json", "report")
    assert answer.code == 0, answer.err
    assert (client.folder / "report").read_bytes() == b'{"state": "succeeded"}'


@pytest.mark.parametrize("name", ["folder/users.csv.asc", "results/users.csv.asc", "README.txt"])
async def test_wrong_path_fails_and_leaves_nothing(client: Client, name: str) -> None:
    """FAULTS S10: the program ends with a failure, so that a job in the night notices."""
    answer = await client.put("users.csv.asc", name)
    assert answer.code != 0
    assert client.site.waiting() == set()
    assert client.site.parts() == []
    assert client.site.published == []
