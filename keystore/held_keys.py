"""The master keys that this process holds: found once, and looked for again when the ledger names another.

So a service that runs while its master key is rotated goes on without a pause: it finds the next key when it first
meets it (docs/adr/0011). What was held once is held until the process ends: a record may have been read from the ledger
just before a rotation was over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from keystore.errors import MasterKeyMissing, MasterKeyWrong
from keystore.master_key import CREDENTIAL_NAME, MasterKey, find_master_key, next_key_file, read_master_key
from keystore.secret import Secret
from keystore.vault import Vault


class HeldKeys:
    """Finds and keeps the master keys of one installation."""

    def __init__(self, path: Path, *, allow_environment: bool) -> None:
        self._path = path
        self._allow_environment = allow_environment
        self._from_environment: MasterKey | None = None
        self._held: dict[str, MasterKey] = {}

    def vault(self, named: Sequence[str]) -> Vault:
        """A vault that seals under the last of the ``named`` master keys, and opens what any key at hand has sealed.

        ``named`` are the IDs of the keys that the ledger was sealed under, at least one. Raises `MasterKeyMissing` or
        `MasterKeyWrong` when one of them is not found; never makes one.
        """
        if not self._held.keys() >= set(named):
            self._look_for(named)
        older = [key.secret for key_id, key in self._held.items() if key_id != named[-1]]
        return Vault(self._held[named[-1]].secret, *older)

    def held(self, key_id: str) -> MasterKey:
        """The key of this ID, which `vault` was asked for before."""
        return self._held[key_id]

    def first(self) -> MasterKey | None:
        """What the first source holds, whether it is the right one or not; raises what `find_master_key` raises."""
        found = find_master_key(self._path, allow_environment=self._allow_environment)
        if found is not None and found.kind == "environment":
            self._from_environment = found  # it is no longer there
        return found or self._from_environment

    def following(self) -> MasterKey | None:
        """What the file for the next key holds; raises what `read_master_key` raises."""
        return read_master_key(next_key_file(self._path), "next file")

    def handed_over(self) -> bytes:
        """All keys as bytes for `take_over` in a process of ours; never to be written down."""
        return json.dumps([(key.secret.expose().hex(), key.kind, key.place) for key in self._held.values()]).encode()

    def take_over(self, handed: bytes) -> None:
        """Hold the keys of the process that this one belongs to: the environment had its key only once."""
        for digits, kind, place in json.loads(handed):
            self._hold(MasterKey(Secret(bytes.fromhex(digits)), kind, place))

    def _look_for(self, named: Sequence[str]) -> None:
        following = self.following()  # before the first source: where a rotation ends, this file takes that one's place
        first = self.first()
        found = [key for key in (first, following) if key is not None]
        for key in found:
            if key.id in named:
                self._hold(key)
        missing = [key_id for key_id in named if key_id not in self._held]
        if not missing:
            return
        if len(missing) < len(named):
            raise MasterKeyMissing(
                "A rotation of the master key is unfinished, and one of its two keys is not there: put it back.",
                detail=f"its ID is {missing[0]}; a next key belongs into {next_key_file(self._path)}",
            )
        if found:
            raise MasterKeyWrong(
                "The master key is not the one that sealed the stored secrets.",
                detail="; ".join(f"{key.place} holds the key with the ID {key.id}" for key in found)
                + f"; the ledger was sealed under {missing[0]}: put that one back",
            )
        raise MasterKeyMissing(
            f"There is no master key: no systemd credential {CREDENTIAL_NAME} and no file {self._path}. "
            "`sealdrop init` makes one for a new installation; for an existing one, put back the key that it was made "
            "with."
        )

    def _hold(self, key: MasterKey) -> None:
        self._held.setdefault(key.id, key)
