"""A notice as a mail: headers, a text and an HTML version.

Both bodies are quoted-printable, so that what goes over the wire is short lines of ASCII with CRLF whatever the text
is: no bare line feed that one server takes for an end and another does not (FAULTS.md M4).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from itertools import zip_longest

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ingest.notices.digest_letter import write_digest_letter
from ingest.notices.display import header_text
from ingest.notices.errors import DeliveryRefused
from ingest.notices.file_letter import write_file_letter
from ingest.notices.key_letter import write_key_letter
from ingest.notices.letter import Letter, Reject, write_letter
from ingest.notices.notice import DigestStage, FileStage, KeyStage, Notice
from ingest.notices.recipients import is_plain_address

_ABOUT = {"import_id": "X-Sealdrop-Import", "key_id": "X-Sealdrop-Key", "account": "X-Sealdrop-Account"}
_WIDTH = 78
_COLUMN_WIDTH = 20
_CODE_SPAN = re.compile(r"`([^`]+)`")

# a folded Subject would begin with an empty line: ours are short enough for one (RFC 5322 §2.1.1 allows 998)
_POLICY = policy.SMTP.clone(max_line_length=300)


def compose(notice: Notice, *, sender: str, now: datetime) -> EmailMessage:
    """The mail of a notice, dated ``now``; the same notice gives the same texts and the same Message-ID.

    ``sender`` is the From header, an address with or without a name. Raises `DeliveryRefused` when the recipient is
    not one plain address, ``KeyError`` when the report lacks a key.
    """
    if not is_plain_address(notice.recipient):
        raise DeliveryRefused("the recipient is not one plain mail address")
    letter = letter_of(notice)
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = letter.subject
    mail["From"] = sender
    mail["To"] = Address(addr_spec=notice.recipient)
    mail["Date"] = now
    mail["Message-ID"] = notice.message_id
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: no out-of-office answers
    mail["X-Auto-Response-Suppress"] = "All"  # the same for Exchange, which does not follow RFC 3834
    for name, identity in notice.about.items():
        mail[_ABOUT[name]] = header_text(identity)
    mail.set_content(text_of(letter), cte="quoted-printable")
    mail.add_alternative(html_of(letter), subtype="html", cte="quoted-printable")
    return mail


def letter_of(notice: Notice) -> Letter:
    """What the notice says, whatever it is about."""
    if isinstance(notice.stage, KeyStage):
        return write_key_letter(notice)
    if isinstance(notice.stage, FileStage):
        return write_file_letter(notice)
    if isinstance(notice.stage, DigestStage):
        return write_digest_letter(notice)
    return write_letter(notice)


def text_of(letter: Letter) -> str:
    """The text version, wrapped at 78; only a word that is longer, such as a path, goes beyond."""
    return _ENVIRONMENT.get_template("letter.txt.j2").render(letter=letter)


def html_of(letter: Letter) -> str:
    """The HTML version: styles inline, nothing remote, readable in light and dark."""
    return _ENVIRONMENT.get_template("letter.html.j2").render(letter=letter)


def _wrapped(text: str, *, first: str = "", rest: str = "", width: int = _WIDTH) -> str:
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _table(rejects: Sequence[Reject]) -> str:
    """Rejected rows in aligned columns; what is too long goes on below itself."""
    lines = [Reject("Row", "Column", "Code", "Reason"), *rejects]
    row_width = max(len(line.row) for line in lines)
    column_width = min(max(len(line.column) for line in lines), _COLUMN_WIDTH)
    code_width = max(len(line.code) for line in lines)
    reason_width = _WIDTH - 2 - row_width - column_width - code_width - 6
    written = []
    for line in lines:
        columns, reasons = textwrap.wrap(line.column, column_width), textwrap.wrap(line.reason, reason_width)
        cells = zip_longest([line.row], columns, [line.code], reasons, fillvalue="")
        for row, column, code, reason in cells:
            written.append(f"  {row:>{row_width}}  {column:<{column_width}}  {code:>{code_width}}  {reason}".rstrip())
    return "\n".join(written)


def _code_spans(text: str) -> list[tuple[bool, str]]:
    """``text`` in pieces, each with whether it stood between backticks."""
    return [(index % 2 == 1, piece) for index, piece in enumerate(_CODE_SPAN.split(text)) if piece]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ingest.notices"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(wrapped=_wrapped, table=_table, code_spans=_code_spans)
    return environment


_ENVIRONMENT = _environment()
