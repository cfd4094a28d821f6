"""What a notice about a key pair says; as safe to show as `ingest.notices.letter`, and shown by the same templates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ingest.notices.display import counted, shown
from ingest.notices.letter import Letter, Tone
from ingest.notices.notice import KeyStage, Notice

_MOST_NAMED = 3


def write_key_letter(notice: Notice) -> Letter:
    """What the notice says; pure, the same for the same notice. Raises ``KeyError`` when its facts lack a key."""
    news = notice.report
    verb, ends_at = news["why"], datetime.fromisoformat(news["ends_at"])
    day, left = f"{ends_at:%Y-%m-%d}", _left(ends_at, notice.created_at)
    return Letter(
        subject=f"Key {verb} {left}: {news['fingerprint'][-16:]}",
        label=f"Key {verb}",
        tone=Tone.BAD if notice.stage is KeyStage.DAY_1 else Tone.MIXED,
        title=f"Your key pair {verb} {left}, on {day}",
        lead=_LEAD[verb],
        problem=(),
        remedy=_remedy(news),
        facts=(
            ("Account", shown(news["account"])),
            ("Key ID", shown(news["key_id"])),
            ("Fingerprint", shown(news["fingerprint"])),
            ("Algorithm", shown(news["algorithm"])),
            (verb.capitalize(), f"{ends_at:%Y-%m-%d %H:%M} UTC"),
        ),
        note="You get this mail as a contact of the account.",
    )


_LEAD = {
    "expires": "From then on your encryption program refuses to encrypt to it. Files that are encrypted already "
    "can still be sent.",
    "retires": "Files that are encrypted to it are opened until then, and refused afterwards.",
}


def _left(ends_at: datetime, now: datetime) -> str:
    days = round((ends_at - now).total_seconds() / 86400)
    return f"in {counted(days, 'day')}" if days > 0 else "within a day"


def _remedy(news: dict[str, Any]) -> str:
    if news["successor"]:
        return (
            f"Encrypt to the pair that has taken its place, fingerprint {shown(news['successor'])}, from now on. Your "
            "manifests stay as they are: the key ID is the same."
        )
    others = [f"`{shown(key_id)}`" for key_id in news["others"][:_MOST_NAMED]]
    use_another = (
        f"Encrypt to another pair of yours, and put its key ID into your manifests: {' or '.join(others)}."
        if others
        else ""
    )
    if news["why"] == "retires":
        return use_another or "Ask whoever runs this service which key pair to use from then on."
    new = (
        "Make a new pair, or extend this one, and hand over its private key before that day in the way in which you "
        "handed over this one; or ask whoever runs this service to make one. Your manifests stay as they are: the key "
        "ID does not change, and for some weeks files for the former pair are opened as well."
    )
    return f"{new} {use_another.replace('Encrypt', 'Or encrypt')}".strip()
