"""What is told of a file that waits in a drop for another, in the shape that the ledger and the notices share."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class FileNews:
    """A complete file of a drop that belongs to no import, since ``since`` (aware UTC).

    ``kind``: a manifest, which waits for its data file ``waits_for``, or a file that no manifest there names.
    ``client_email`` is what the manifest says. ``identity`` tells this file from an earlier one of its name.
    """

    account: str
    file: str
    kind: Literal["manifest", "data"]
    waits_for: str | None
    since: datetime
    client_email: str | None
    identity: tuple[int, int, int]

    @property
    def subject(self) -> str:
        """What a notice is about: this file. One that is uploaded again under the same name is told anew."""
        facts = repr((self.account, self.file, self.identity)).encode()
        return f"file {hashlib.sha256(facts).hexdigest()}"

    def as_json(self) -> dict[str, Any]:
        """The facts with stable keys and only JSON types; times as ISO 8601 with ``Z``."""
        facts = asdict(self) | {"since": self.since.isoformat(timespec="seconds").replace("+00:00", "Z")}
        del facts["identity"]
        return facts
