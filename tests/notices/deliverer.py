"""A process that delivers what is due in a ledger, once; it may be told to die between a relay's yes and its mark.

python -m tests.notices.deliverer LEDGER PORT NOW [dies]
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import datetime

from ingest.ledger.database import Database
from ingest.ledger.outbox import Outbox
from ingest.notices.deliver import deliver_due
from ingest.notices.mailer import Mailer
from ingest.notices.notice import Channel
from ingest.notices.settings import MailSettings
from ingest.settings import Settings
from tests.notices.relay import HOST


class DyingOutbox(Outbox):
    """An outbox whose process is killed before it can mark anything as sent."""

    def sent(self, notice_id: int, at: datetime, status: int | None = None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Deliver, with the clock at the time named."""
    ledger, port, now, *dies = sys.argv[1:]
    database = Database(f"sqlite:///{ledger}")
    outbox = DyingOutbox(database) if dies else Outbox(database)
    settings = Settings(mail=MailSettings(host=HOST, port=int(port), security="none", sender="us@example.org"))
    couriers = {Channel.MAIL: Mailer(settings.mail)}
    asyncio.run(deliver_due(outbox, couriers, settings, lambda: datetime.fromisoformat(now)))


if __name__ == "__main__":
    main()
