"""What a sender can get wrong: each has a named failure, a mail, a result file, and the next import works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.demo.sender import SenderFailed
from tests.e2e.conftest import NewCustomer
from tests.e2e.test_import import EVENTS, event_manifest, events_of
from tests.support.customer import Customer, PgpPair
from tests.support.served import Instance

OTHER_KEY_ID = "ec491319-9823-48cd-b6a1-6bb0bc666d75"
CANARY = "canary-Zq7"
DATA = EVENTS.replace("espresso", CANARY)

Files = tuple[Path, ...]


def broken_manifest(customer: Customer) -> Files:
    return (customer.write("events.manifest", '{"fileName": "events.csv.asc", "type": "evnt",\n "colunms": {}'),)


def unknown_problems(customer: Customer) -> Files:
    text = json.dumps(
        {"fileName": "events.csv.asc", "type": "evnt", "clientEmail": customer.email, "keyID": customer.key_id},
        indent=1,
    )
    return (customer.write("events.manifest", text),)


def unknown_key_id(customer: Customer) -> Files:
    data = customer.encrypted("events.csv", DATA)
    return data, event_manifest(customer, data.name, keyId=OTHER_KEY_ID)


def encrypted_to_another_key(customer: Customer) -> Files:
    data = customer.gpg.encrypt(customer.write("events.csv", DATA), PgpPair(Path(), "rsa@example.com"))
    return data, event_manifest(customer, data.name)


def tampered(customer: Customer) -> Files:
    data = customer.encrypted("events.csv", DATA * 50)
    lines = data.read_text().split("\n")
    middle = len(lines) // 2
    lines[middle] = lines[middle].swapcase()
    data.write_text("\n".join(lines))
    return data, event_manifest(customer, data.name)


def truncated(customer: Customer) -> Files:
    data = customer.encrypted("events.csv", DATA * 50)
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    return data, event_manifest(customer, data.name)


def plain_csv(customer: Customer) -> Files:
    data = customer.write("events.csv.asc", DATA)
    return data, event_manifest(customer, data.name)


def missing_column(customer: Customer) -> Files:
    data = customer.encrypted("events.csv", DATA.replace("item_price", "item_prize"))
    return data, event_manifest(customer, data.name)


def abort_on_wrong_type(customer: Customer) -> Files:
    data = customer.encrypted("events.csv", DATA.replace(",3,", f",{CANARY},"))
    return data, event_manifest(customer, data.name, onError="abort")


def wrong_size(customer: Customer) -> Files:
    data = customer.encrypted("events.csv", DATA)
    return data, event_manifest(customer, data.name, size=1)


def wrong_sha256(customer: Customer) -> Files:
    data = customer.encrypted("events.csv", DATA)
    return data, event_manifest(customer, data.name, sha256="ab" * 32)


def quote_without_end(customer: Customer) -> Files:
    data = customer.encrypted("events.csv", DATA + f'Charged,1735689780,u3,"{CANARY},3,2025-01-07\n')
    return data, event_manifest(customer, data.name)


@pytest.mark.parametrize(
    ("send", "code", "said"),
    [
        (broken_manifest, "manifest.invalid", ["line"]),
        (unknown_problems, "manifest.invalid", ["type", "keyID", "keyId"]),
        (unknown_key_id, "key.unknown", [OTHER_KEY_ID]),
        (encrypted_to_another_key, "pgp.wrong_key", ["encrypted to"]),
        (tampered, "pgp.corrupt", ["damaged"]),
        (truncated, "pgp.truncated", ["ends"]),
        (plain_csv, "pgp.not_encrypted", ["encrypt"]),
        (missing_column, "data.header", ["item_price", "item_prize"]),
        (abort_on_wrong_type, "data.too_many_errors", ["onError"]),
        (wrong_size, "manifest.size_mismatch", ["size"]),
        (wrong_sha256, "manifest.sha256_mismatch", ["SHA-256"]),
        (quote_without_end, "data.malformed", ["quote"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_failure_is_named_mailed_and_written_down_and_the_next_import_works(
    instance: Instance,
    new_customer: NewCustomer,
    rsa: PgpPair,
    send: Callable[[Customer], Files],
    code: str,
    said: list[str],
) -> None:
    """FAULTS P2, P3, P7, P16, D1, D8 as a sender meets them; nothing is stored, nothing leaks."""
    customer = new_customer()
    customer.put(*send(customer))
    (failed,) = instance.wait_for_imports(customer.name, 1)
    assert (failed["state"], failed["code"], failed["rows_stored"]) == ("failed", code, 0)
    assert all(word in failed["message"] for word in said), failed["message"]
    assert events_of(instance, customer) == []

    mail = instance.post.about(failed["id"], "Import failed")
    text = mail.as_string()
    assert mail["To"] == customer.email
    assert code in text
    result = customer.get(f"results/events.manifest.{failed['id']}.json").decode()
    assert json.loads(result)["code"] == code
    for leak in (CANARY, "Traceback", "/ingest/", ".py"):
        assert leak not in text
        assert leak not in result

    good = customer.encrypted("events.csv", EVENTS)
    customer.put(good, event_manifest(customer, good.name))
    assert instance.wait_for_imports(customer.name, 2)[1]["state"] == "succeeded"
    assert len(events_of(instance, customer)) == 3


def test_corrected_manifest_alone_is_enough(instance: Instance, new_customer: NewCustomer) -> None:
    """The data file of a manifest that cannot be read stays in the drop."""
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    customer.put(data, *unknown_problems(customer))
    assert instance.wait_for_imports(customer.name, 1)[0]["code"] == "manifest.invalid"
    customer.put(event_manifest(customer, data.name))
    assert instance.wait_for_imports(customer.name, 2)[1]["state"] == "succeeded"


def test_type_of_a_property_is_fixed_by_the_first_import(instance: Instance, new_customer: NewCustomer) -> None:
    """FAULTS D7: a type clash is refused before row 1."""
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    customer.put(data, event_manifest(customer, data.name))
    instance.wait_for_imports(customer.name, 1)
    text = (
        event_manifest(customer, data.name).read_text().replace('"dataType": "Integer"\n  }', '"dataType": "Date"\n  }')
    )
    columns = json.loads(text)
    columns["columns"]["item_price"] = {"dataType": "Boolean"}
    customer.put(data, customer.write("events.manifest", json.dumps(columns)))
    failed = instance.wait_for_imports(customer.name, 2)[1]
    assert (failed["code"], failed["column"]) == ("data.type_conflict", "item_price")


def test_no_value_and_no_secret_reaches_the_log(instance: Instance, new_customer: NewCustomer) -> None:
    """FAULTS K5: the log of everything above, at level info."""
    customer = new_customer()
    customer.put(*abort_on_wrong_type(customer))
    instance.wait_for_imports(customer.name, 1)
    log = instance.log.read_text()
    assert "import_settled" in log
    assert CANARY not in log
    assert "canary-passphrase" not in log
    assert "Traceback" not in log


def test_mail_goes_to_the_contacts_when_the_address_is_not_allowed(
    instance: Instance, new_customer: NewCustomer
) -> None:
    """FAULTS M2: nobody may use us as a relay."""
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    customer.put(data, event_manifest(customer, data.name, clientEmail="victim@elsewhere.example"))
    (report,) = instance.wait_for_imports(customer.name, 1)
    mail = instance.post.about(report["id"], "Imported")
    assert mail["To"] == customer.email
    assert "victim@elsewhere.example" not in [mail["To"] for mail in instance.post.mailbox.mails]


def test_disabled_account_cannot_log_in_until_it_is_enabled(instance: Instance, new_customer: NewCustomer) -> None:
    """FAULTS K8."""
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    customer.put(data)
    instance.run("account", "disable", customer.name)
    with pytest.raises(SenderFailed, match="ended with 255"):
        customer.put(event_manifest(customer, data.name))
    assert instance.imports(customer.name) == []
    instance.run("account", "enable", customer.name)
    customer.put(event_manifest(customer, data.name))
    assert instance.wait_for_imports(customer.name, 1)[0]["state"] == "succeeded"
