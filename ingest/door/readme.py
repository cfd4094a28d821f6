"""What the door says of itself: the README in every drop, the banner, and sizes for people."""

from __future__ import annotations

from ingest.settings import DoorSettings
from manifests.names import FILE_NAME_RULE

README = "README.txt"

_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_DAY_S = 86_400
_HOUR_S = 3600


def size_text(size: int) -> str:
    """A size for people: the decimal unit, and the exact number where the unit rounds nothing away for machines."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.4g} {name} ({size:,} bytes)"
    return f"{size:,} bytes"


def _time_text(seconds: float) -> str:
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:.0f} days"
    return f"{seconds / _HOUR_S:.0f} hours" if seconds >= 2 * _HOUR_S else f"{seconds / 60:.0f} minutes"


def readme_text(settings: DoorSettings, account: str) -> str:
    """How to send, with the limits of this server; the same for every session of an account."""
    return f"""\
This is the drop of {account}.

How to send
  1. Encrypt the data file with the public key that you have from the operator:
       gpg --encrypt --armor -r RECIPIENT users.csv
  2. Upload it, then a manifest beside it that describes it:
       put users.csv.asc
       put users.manifest
     The import begins when both are here; either may come first.

The smallest manifest (JSON or YAML)
  {{"fileName": "users.csv.asc", "type": "profile", "clientEmail": "you@example.com", "keyId": "YOUR-KEY-ID"}}

What becomes of it
  Both files leave this folder when their import begins. Its report, and the rejected rows, appear in /results, newest
  first, and a mail goes to clientEmail.

Limits
  one file             at most {size_text(settings.max_file_bytes)}
  all that wait here   at most {settings.max_account_files:,} files and {size_text(settings.max_account_bytes)}
  names                {FILE_NAME_RULE}
  folders              none but /results

When an upload is interrupted
  What has arrived is kept for {_time_text(settings.keep_unfinished_s)}. Continue it (OpenSSH: reput FILE; lftp:
  put -c FILE), or send the file again. Names that end with .filepart, .part, .partial or .tmp are uploads in progress:
  rename the file at the end, and it counts as complete.
"""


def banner_text(settings: DoorSettings) -> str:
    """One line before the login, with a line break at its end."""
    return f"Sealdrop: SFTP only, keys only; one file at most {size_text(settings.max_file_bytes)}. See /{README}.\r\n"
