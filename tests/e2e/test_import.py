"""The main job: the real sftp and gpg, a served installation, mails and the lake."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.demo.files import EVENT_COLUMNS
from tests.e2e.conftest import NewCustomer
from tests.support.customer import Customer, PgpPair
from tests.support.served import Instance

EVENTS = """\
event_name,time_stamp,identity,item_name,item_price,item_delivery_date
Charged,1735689600,u1,"tea, green",12,2025-01-04
Viewed,1735689660,u2,espresso,3,2025-01-05
Charged,1735689720,u1,notebook,7,2025-01-06
"""
PROFILES = """\
identity,full_name,tier,score,newsletter,joined
u1,Ada,Gold,1.5,true,03/02/2024
u2,Grace,Silver,,0,04/02/2024
"""
PROFILE_COLUMNS = {
    "full_name": {"ctName": "Name"},
    "tier": {"ctName": "Customer Type"},
    "score": {"dataType": "Float"},
    "newsletter": {"dataType": "Boolean"},
    "joined": {"dataType": "Date", "format": "dd/MM/yyyy"},
}


def event_manifest(customer: Customer, data_file: str, **keys: Any) -> Any:
    return customer.manifest("events.manifest", fileName=data_file, type="event", columns=EVENT_COLUMNS, **keys)


def events_of(instance: Instance, customer: Customer) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = instance.json("events", "list", customer.name, "--limit", "1000")
    return events


@pytest.mark.parametrize("pair", ["rsa", "curve25519"])
def test_data_first_then_manifest(
    instance: Instance, new_customer: NewCustomer, pair: str, request: pytest.FixtureRequest
) -> None:
    chosen: PgpPair = request.getfixturevalue(pair)
    customer = new_customer(chosen)
    data = customer.encrypted("events.csv", EVENTS)
    customer.put(data, event_manifest(customer, data.name))
    (report,) = instance.wait_for_imports(customer.name, 1)

    assert (report["state"], report["rows_read"], report["rows_stored"], report["rows_rejected"]) == (
        "succeeded",
        3,
        3,
        0,
    )
    assert report["bytes_encrypted"] == data.stat().st_size
    assert report["bytes_plain"] == len(EVENTS)
    assert report["key_id"] == customer.key_id
    stored = {(e["identity"], e["evtName"], e["ts"], e["Name"], e["item_price"]) for e in events_of(instance, customer)}
    assert ("u1", "Charged", "2025-01-01T00:00:00Z", "tea, green", 12) in stored
    assert len(stored) == 3

    picked_up = instance.post.about(report["id"], "Picked up: events.manifest")
    succeeded = instance.post.about(report["id"], "Imported: events.manifest - all 3 rows stored")
    assert picked_up["To"] == succeeded["To"] == customer.email
    assert customer.results() == [f"events.manifest.{report['id']}.json"]
    assert json.loads(customer.get(f"results/events.manifest.{report['id']}.json"))["rows_stored"] == 3
    assert "events" not in customer.sftp("ls -1").replace("results", "")


def test_manifest_first_then_data(instance: Instance, new_customer: NewCustomer) -> None:
    """FAULTS W13: either order works."""
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    customer.put(event_manifest(customer, data.name))
    assert instance.imports(customer.name) == []
    customer.put(data)
    (report,) = instance.wait_for_imports(customer.name, 1)
    assert report["state"] == "succeeded"
    assert len(events_of(instance, customer)) == 3


def test_same_names_twice_are_two_imports(instance: Instance, new_customer: NewCustomer) -> None:
    """FAULTS W3: recurring uploads under the same names are normal; also back to back in one session."""
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    manifest = event_manifest(customer, data.name)
    customer.put(data, manifest, data, manifest)
    customer.put(manifest, data)
    reports = instance.wait_for_imports(customer.name, 3)
    assert [report["state"] for report in reports] == ["succeeded"] * 3
    assert len({report["id"] for report in reports}) == 3
    assert len(events_of(instance, customer)) == 9


def test_profiles_from_a_yaml_manifest_are_folded(instance: Instance, new_customer: NewCustomer) -> None:
    customer = new_customer()
    data = customer.encrypted("users.csv", PROFILES)
    columns = "\n".join(f"  {name}: {json.dumps(spec)}" for name, spec in PROFILE_COLUMNS.items())
    manifest = customer.write(
        "users.manifest.yaml",
        f"fileName: {data.name}\ntype: Profile\nclientEmail: {customer.email}\n"
        f"keyId: {customer.key_id}\ncolumns:\n{columns}\n",
    )
    customer.put(data, manifest)
    again = customer.encrypted("users.csv", "identity,full_name,tier\nu2,,Gold\n")
    later = customer.manifest(
        "users.manifest",
        fileName=again.name,
        type="profile",
        columns={"full_name": {"ctName": "Name"}, "tier": {"ctName": "Customer Type"}},
    )
    instance.wait_for_imports(customer.name, 1)
    customer.put(again, later)
    reports = instance.wait_for_imports(customer.name, 2)
    assert [report["state"] for report in reports] == ["succeeded"] * 2
    profile = instance.json("profile", "show", customer.name, "--identity", "u2")
    assert profile["Name"] == "Grace"  # an empty cell keeps what there was
    assert profile["Customer Type"] == "Gold"
    assert profile["newsletter"] is False
    assert profile["joined"] == "2024-02-04T00:00:00Z"
    assert profile.get("score") is None


def test_rejected_rows_are_named_in_mail_and_given_back_encrypted(
    instance: Instance, new_customer: NewCustomer, tmp_path: Any
) -> None:
    """FAULTS D8: a bad row is told by number, column and code; its value only in the encrypted file."""
    customer = new_customer()
    bad = EVENTS + "Charged,1735689780,u3,=HYPERLINK(1),canary-price,2025-01-07\n"
    data = customer.encrypted("events.csv", bad)
    customer.put(data, event_manifest(customer, data.name))
    (report,) = instance.wait_for_imports(customer.name, 1)
    assert (report["state"], report["rows_stored"], report["rows_rejected"]) == ("succeeded", 3, 1)
    (reject,) = report["rejects"]
    assert (reject["row"], reject["column"], reject["code"]) == (4, "item_price", 600)

    mail = instance.post.about(report["id"], "Imported: events.manifest - 3 rows stored, 1 rejected").as_string()
    assert "item_price" in mail
    assert "canary-price" not in mail + json.dumps(report)
    name = f"results/events.manifest.{report['id']}.rejects.csv.asc"
    encrypted = customer.get(name)
    assert encrypted.startswith(b"-----BEGIN PGP MESSAGE-----")
    rejects = customer.decrypted(encrypted).decode()
    assert '"4","600","item_price"' in rejects
    assert "canary-price" in rejects
    assert "'=HYPERLINK(1)" in rejects


def test_waiting_data_file_can_be_replaced(instance: Instance, new_customer: NewCustomer) -> None:
    customer = new_customer()
    customer.put(customer.encrypted("events.csv", "event_name\nwrong file\n"))
    data = customer.encrypted("events.csv", EVENTS)
    customer.put(data, event_manifest(customer, data.name))
    (report,) = instance.wait_for_imports(customer.name, 1)
    assert (report["state"], report["rows_stored"]) == ("succeeded", 3)


def test_upload_under_a_temporary_name_counts_once_it_is_renamed(instance: Instance, new_customer: NewCustomer) -> None:
    """CONTRACT 1: .filepart, .part and .tmp are uploads in progress."""
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    manifest = event_manifest(customer, data.name)
    customer.sftp(f'put "{manifest}"', f'put "{data}" "{data.name}.filepart"')
    assert instance.imports(customer.name) == []
    customer.sftp(f'rename "{data.name}.filepart" "{data.name}"')
    (report,) = instance.wait_for_imports(customer.name, 1)
    assert report["state"] == "succeeded"


def test_file_that_somebody_else_puts_into_the_drop_is_found(instance: Instance, new_customer: NewCustomer) -> None:
    """FAULTS W9: the scan is the truth; a drop is only a folder."""
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    manifest = event_manifest(customer, data.name)
    drop = instance.folder / "data" / "spool" / "drops" / customer.name
    for file in (data, manifest):
        (drop / file.name).write_bytes(file.read_bytes())
    (report,) = instance.wait_for_imports(customer.name, 1)
    assert report["state"] == "succeeded"


def test_import_run_needs_no_service(new_customer: NewCustomer, instance: Instance) -> None:
    customer = new_customer()
    data = customer.encrypted("events.csv", EVENTS)
    manifest = event_manifest(customer, data.name)
    report = instance.json("import", "run", customer.name, manifest)
    assert (report["state"], report["rows_stored"]) == ("succeeded", 3)
    assert data.exists()
    shown = instance.json("imports", "show", report["id"])
    assert {notice["stage"] for notice in shown["notices"]} == {"picked_up", "succeeded"}
