"""What can go wrong with the delivery of a notice.

Every error has a stable ``code``, a ``public`` text that is kept with the notice, and a ``detail`` that only the
operator's log may see: a relay's own words can hold addresses.
"""

from __future__ import annotations

from typing import ClassVar


class NoticeError(Exception):
    """Base of this package's errors; only its leaves are raised."""

    code: ClassVar[str]

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class DeliveryDeferred(NoticeError):
    """The relay did not take the mail now; another try may work (no answer, TLS, login, 4xx)."""

    code = "notice.deferred"


class DeliveryRefused(NoticeError):
    """The mail will never reach this recipient (5xx for it, or not one plain address)."""

    code = "notice.refused"
