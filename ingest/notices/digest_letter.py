"""What a digest says: one mail in place of many that were held back; shown in the same way as other notices."""

from __future__ import annotations

from typing import Any

from ingest.notices.display import counted, header_text, moment, shown
from ingest.notices.letter import Letter, Tone
from ingest.notices.notice import Notice

_MOST_CODES = 20
_REMEDY = (
    "Look at the reports of some of them: each says what is wrong and how to mend it. If one program sent all of them, "
    "stop it until that is mended."
)


def write_digest_letter(notice: Notice) -> Letter:
    """What the notice says; pure, the same for the same notice. Raises ``KeyError`` when its facts lack a key."""
    digest = notice.report
    failed = sum(digest["failed"].values())
    held_back = counted(digest["notices"], "mail")
    return Letter(
        subject=f"{held_back} in one: {header_text(digest['account'])}" + (f" - {failed:,} failed" if failed else ""),
        label="Digest",
        tone=Tone.GOOD if not failed else Tone.MIXED if digest["succeeded"] else Tone.BAD,
        title=f"This mail stands for {held_back}",
        lead=(
            f"No more than {counted(digest['mails_per_hour'], 'mail')} an hour are sent about one account. What the "
            "others would have told you is counted here; each import has its own report in your SFTP home."
        ),
        problem=(),
        remedy=_REMEDY if failed else "",
        facts=(
            ("Account", shown(digest["account"])),
            ("From", moment(digest["first_at"])),
            ("Until", moment(digest["last_at"])),
        ),
        outcomes=_outcomes(digest),
        examples=tuple(f"{shown(each['manifest'])}: `{shown(each['code'])}`" for each in digest["named"]),
        files=(("Reports (JSON)", "results/"),) if failed or digest["succeeded"] or digest.get("skipped") else (),
        note="You get this mail as one to whom those mails were addressed.",
    )


def _outcomes(digest: dict[str, Any]) -> tuple[str, ...]:
    codes = list(digest["failed"].items())
    lines = [f"{counted(count, 'import')} failed: `{shown(code)}`" for code, count in codes[:_MOST_CODES]]
    if further := sum(count for _, count in codes[_MOST_CODES:]):
        lines.append(f"{counted(further, 'import')} failed with other codes")
    if digest["succeeded"]:
        in_part = f", {digest['in_part']:,} of them with rejected rows" if digest["in_part"] else ""
        lines.append(f"{counted(digest['succeeded'], 'import')} succeeded{in_part}")
    if skipped := digest.get("skipped", 0):  # one that waited while this was brought to this version has none
        lines.append(f"{counted(skipped, 'import')} skipped, being the same as one before")
    if digest["underway"]:
        lines.append(f"{counted(digest['underway'], 'import')} picked up; other mails tell how they ended")
    if digest["waiting"]:
        lines.append(f"{counted(digest['waiting'], 'file')} waiting for a manifest or a data file that is not there")
    return tuple(lines)
