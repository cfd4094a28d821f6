"""A loss of power: all processes are dead, and of the files is there only what an fsync of file and folder covered.

A shim in front of the C library (`durable.c`) copies the bytes of a file aside after each fsync of it, and the names in
a folder after each fsync of that; this puts the folder together again from those copies. What was there before the
service started is durable; what was made since and never synced is gone; a file whose name is durable and whose bytes
are not is empty; bytes written after the last fsync are not there; a rename whose folder was not synced did not happen.
That is more than most file systems take away, and never less than they may.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Identity = tuple[int, int]  # inode, and nanoseconds at which it was made


@dataclass(frozen=True)
class _Name:
    """One name in a folder, and since when it is known (nanoseconds)."""

    name: str
    is_folder: bool
    identity: Identity
    known_since: int


def compiler() -> str | None:
    """The C compiler that can build the shim, when there is one."""
    return shutil.which("cc") or shutil.which("gcc")


def build_shim(folder: Path) -> Path:
    """The shim, ready for LD_PRELOAD."""
    shim = folder / "durable.so"
    source = Path(__file__).with_name("durable.c")
    subprocess.run([str(compiler()), "-O2", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return shim


class Disk:
    """What of a folder is durable; begin before any process writes to it."""

    def __init__(self, folder: Path, copies: Path) -> None:
        self._folder = folder
        self._copies = copies
        self._at_first = copies / "at-first"
        copies.mkdir()
        self._root: Identity
        self._listings: dict[Identity, list[_Name]]
        self._bytes: dict[Identity, Path]
        self._remember()

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that the shim is put in front of."""
        return {"DURABLE_BELOW": str(self._folder), "DURABLE_COPIES": str(self._copies)}

    def lose(self) -> None:
        """Make the folder what a loss of power leaves of it; no process has it open. It is durable as it is then."""
        identity = self._root
        left = self._folder.with_name(self._folder.name + ".left")
        shutil.rmtree(left, ignore_errors=True)
        self._restore(identity, left, self._where_each_file_is(identity))
        shutil.rmtree(self._folder)
        left.rename(self._folder)
        for copy in self._copies.glob("[fdt].*"):
            copy.unlink()
        self._remember()

    def _remember(self) -> None:
        """Everything in the folder is durable."""
        shutil.rmtree(self._at_first, ignore_errors=True)
        self._at_first.mkdir()
        self._listings, self._bytes = {}, {}
        places: dict[Path, Identity] = {}
        for path, is_folder, identity in _everything_in(self._folder):  # a folder comes before what is in it
            if path == self._folder:
                self._root = identity
            else:
                self._listings[places[path.parent]].append(_Name(path.name, is_folder, identity, 0))
            if is_folder:
                places[path] = identity
                self._listings[identity] = []
            else:
                self._bytes[identity] = self._at_first / _text(identity)
                shutil.copyfile(path, self._bytes[identity])

    def _names(self, folder: Identity) -> list[_Name]:
        """The durable names in a folder."""
        listing = self._copies / f"d.{_text(folder)}"
        if not listing.exists():
            return self._listings.get(folder, [])
        since = listing.stat().st_mtime_ns
        lines = (line.split(" ", 3) for line in listing.read_text().splitlines())
        return [_Name(name, kind == "d", (int(inode), int(made)), since) for kind, inode, made, name in lines]

    def _all_names(self, folder: Identity) -> Iterator[_Name]:
        for name in self._names(folder):
            yield name
            if name.is_folder:
                yield from self._all_names(name.identity)

    def _where_each_file_is(self, folder: Identity) -> dict[Identity, int]:
        """Since when the newest place of each file is known: a file that was moved is not in its old place as well."""
        newest: dict[Identity, int] = {}
        for name in self._all_names(folder):
            newest[name.identity] = max(newest.get(name.identity, 0), name.known_since)
        return newest

    def _restore(self, folder: Identity, target: Path, newest: dict[Identity, int]) -> None:
        target.mkdir(mode=0o700)
        for name in self._names(folder):
            if name.known_since < newest[name.identity]:
                continue
            if name.is_folder:
                self._restore(name.identity, target / name.name, newest)
                continue
            synced = self._copies / f"f.{_text(name.identity)}"
            content = synced if synced.exists() else self._bytes.get(name.identity)
            (target / name.name).write_bytes(b"" if content is None else content.read_bytes())
            (target / name.name).chmod(0o600)


def _everything_in(folder: Path) -> Iterator[tuple[Path, bool, Identity]]:
    """All files and folders, as the shim knows them; asked of `stat`, since Python cannot tell when a file was made."""
    paths = [folder, *sorted(folder.rglob("*"))]
    told = subprocess.run(["stat", "--printf=%i %.9W\\n", *paths], capture_output=True, text=True, check=True).stdout
    for path, line in zip(paths, told.splitlines(), strict=True):
        inode, made = line.split()
        yield path, path.is_dir(), (int(inode), int(made.replace(".", "")))


def _text(identity: Identity) -> str:
    return f"{identity[0]}.{identity[1]}"
