"""What can go wrong with the delivery of a notice.

Every error has a stable ``code``, a ``public`` text that is kept with the notice, and a ``detail`` that only the
operator's log may see: a relay's own words can hold addresses.
"""

from __future__ import annotations

from typing import ClassVar


class NoticeError(Exception):
    """Base of this package's errors; only its leaves are raised.

    ``status`` is that of SMTP or HTTP, when there was an answer.
    """

    code: ClassVar[str]

    def __init__(self, public: str, *, detail: str = "", status: int | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail
        self.status = status


class DeliveryDeferred(NoticeError):
    """The notice was not taken now; another try may work (no answer, TLS, login, 4xx of SMTP, 5xx of HTTP)."""

    code = "notice.deferred"


class DeliveryUnknown(NoticeError):
    """The relay had the whole mail and did not answer: it may have taken it, and another try may double it."""

    code = "notice.unknown"


class DeliveryRefused(NoticeError):
    """The notice will never reach this recipient (5xx of SMTP for it, or not one plain address; 410 of HTTP)."""

    code = "notice.refused"
