"""To whom a notice goes: the addresses that may hear of it, and the account's webhook."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.file_news import FileNews
from ingest.ledger.accounts import Account
from ingest.ledger.outbox import NewNotice
from ingest.notices.notice import AnyStage, Channel, FileStage, KeyStage, Stage
from ingest.notices.recipients import choose_recipients, is_plain_address
from ingest.report import Report

_NOT_READ_YET = "You get this mail as a contact of the account: the manifest has not been read yet."


def notices_of_import(report: Report, stage: Stage, account: Account, *, occasion: int = 0) -> list[NewNotice]:
    """The notices of a stage of an import."""
    chosen = choose_recipients(report.client_email, account.contacts, account.allowed_domains)
    note = _NOT_READ_YET if stage is Stage.STILL_RUNNING and report.type is None else chosen.note
    return _addressed(account, stage, chosen.addresses, note, occasion=occasion)


def notices_of_file(news: FileNews, account: Account) -> list[NewNotice]:
    """The notices of a file that waits: a manifest's to its ``clientEmail`` where that is allowed."""
    if news.client_email is None:
        return _addressed(account, FileStage.WAITING, _contacts(account), None)
    chosen = choose_recipients(news.client_email, account.contacts, account.allowed_domains)
    return _addressed(account, FileStage.WAITING, chosen.addresses, chosen.note)


def notices_of_key(stage: KeyStage, account: Account) -> list[NewNotice]:
    """The notices of a key pair that ends soon."""
    return _addressed(account, stage, _contacts(account), None)


def _contacts(account: Account) -> list[str]:
    return [address for address in account.contacts if is_plain_address(address)]


def _addressed(
    account: Account, stage: AnyStage, addresses: Sequence[str], note: str | None, *, occasion: int = 0
) -> list[NewNotice]:
    mails = [NewNotice(stage, address, note, occasion=occasion) for address in addresses]
    if account.webhook is None:
        return mails
    return [*mails, NewNotice(stage, account.webhook, None, channel=Channel.WEBHOOK, occasion=occasion)]
