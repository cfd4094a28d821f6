"""What a notice about a file that waits says; as safe to show as `ingest.notices.letter`, and shown in the same way."""

from __future__ import annotations

from ingest.notices.display import header_text, moment, shown, time_between
from ingest.notices.letter import Letter, Tone
from ingest.notices.notice import Notice

_LATER = "Nothing is lost: it stays in your drop, and its import starts by itself when the other file arrives."


def write_file_letter(notice: Notice) -> Letter:
    """What the notice says; pure, the same for the same notice. Raises ``KeyError`` when its facts lack a key."""
    news = notice.report
    name, waits_for = shown(news["file"]), news["waits_for"]
    if waits_for is not None:
        title = "A manifest waits for its data file"
        problem = (f"`{name}` names `{shown(waits_for)}` (`fileName`), and no file of this name is there.",)
        remedy = (
            f"Upload `{shown(waits_for)}`. If it is called otherwise, send the manifest again with its right name in "
            "`fileName`; letter case and ending count. A manifest that you do not need any more can be removed."
        )
    else:
        title = "A data file waits for its manifest"
        problem = (f"No manifest that waits in your drop names `{name}` in `fileName`.",)
        remedy = (
            f"Upload a manifest for it, with a name that ends with `.manifest`, such as `{_stem(name)}.manifest`. If "
            "it was refused, send it again corrected: the data file is still here. A file that you do not need any "
            "more can be removed."
        )
    since = time_between(news["since"], notice.created_at.isoformat(), exact=False)
    facts = [
        ("File", name),
        ("Waits for", shown(waits_for) if waits_for is not None else "a manifest that names it"),
        ("Account", shown(news["account"])),
        ("There since", moment(news["since"])),
    ]
    return Letter(
        subject=f"Waiting: {header_text(news['file'])}",
        label="Waiting",
        tone=Tone.MIXED,
        title=title,
        lead=f"It has been there for {since}. {_LATER}",
        problem=problem,
        remedy=remedy,
        facts=tuple(facts),
        note=shown(notice.note, 600) if notice.note else "You get one mail about this file.",
    )


def _stem(name: str) -> str:
    return name.partition(".")[0] or name
