"""The sections ``[mail]``, ``[notices]`` and ``[webhook]`` of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ingest.notices.recipients import is_plain_address
from ingest.section import AddressList, Port, Seconds, Section

NOWHERE = "<>"


class MailSettings(Section):
    """The SMTP relay for notices; without a host no mail is sent and notices wait."""

    host: str = Field("", description="SMTP relay; empty sends nothing.")
    port: Port = Field(587, description="Port of the relay.")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`none` only for a relay on this machine."
    )
    ca_file: Path | None = Field(None, description="CA certificates for the relay, when not the system's.")
    username: str = Field("", description="Login at the relay; empty for none.")
    password_file: Path | None = Field(None, description="File with the password for the relay, mode 0600.")
    sender: str = Field("sealdrop@localhost", description="Address in From.")
    bounces_to: str = Field(
        "",
        description="Address in the envelope, to which mails that cannot be delivered come back; empty is that in "
        "`sender`, `<>` is nowhere.",
    )

    @field_validator("bounces_to")
    @classmethod
    def _is_an_address(cls, text: str) -> str:
        if text not in ("", NOWHERE) and not is_plain_address(text):
            raise ValueError(f"this is no plain mail address; `{NOWHERE}` is nowhere")
        return text

    timeout_s: Seconds = Field(30, description="Time for one delivery, up to the last byte of the mail.")
    answer_timeout_s: Seconds = Field(
        600,  # RFC 5321 §4.5.3.2.6
        description="Time for the relay's answer after that. A shorter one lets a slow relay deliver mails twice.",
    )
    poll_s: Seconds = Field(2, description="Time between two looks for notices when no worker nudges.")
    retry_floor_s: Seconds = Field(
        60, description="Wait before the second try, of webhooks as well; doubles with each further one."
    )
    retry_ceiling_s: Seconds = Field(3600, description="Longest wait between two tries.")
    give_up_after_s: Seconds = Field(5 * 86400, description="Age at which a notice is given up.")


class NoticeSettings(Section):
    """What senders are told, and how often."""

    still_running_s: Seconds = Field(
        7200, description="Age at which an import that is not over is told of, and time between two such notices."
    )
    waiting_file_s: Seconds = Field(
        3600, description="Time after which a file that waits for its manifest, or a manifest for its file, is told of."
    )
    mails_per_hour: Annotated[int, Field(gt=0, le=10_000)] = Field(
        30, description="Mails an hour about one account; the rest is told in one digest for each recipient."
    )


class WebhookSettings(Section):
    """Notices by HTTP."""

    timeout_s: Seconds = Field(10, description="Time for one delivery.")
    ca_file: Path | None = Field(None, description="CA certificates for receivers, when not the system's.")
    allow_networks: AddressList = Field(
        "",
        description="Addresses, patterns and networks that webhooks may reach though they are internal, such as "
        "`10.1.0.0/16`; without it only public addresses.",
    )
    allow_http_to_localhost: bool = Field(
        default=False, description="Accept `http://localhost`, which also `allow_networks` must allow."
    )
