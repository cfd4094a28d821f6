"""The same upload twice, by the real sftp and gpg, to an account that wants it stored once."""

from __future__ import annotations

import json

from tests.e2e.conftest import NewCustomer
from tests.e2e.test_import import EVENTS, event_manifest, events_of
from tests.support.served import Instance


def test_upload_that_comes_twice_is_stored_once_and_told_so(instance: Instance, new_customer: NewCustomer) -> None:
    """FAULTS.md W3: a job that ran twice, and then the same rows once more because they were meant."""
    customer = new_customer()
    instance.run("account", "change", customer.name, "--skip-duplicates")
    data = customer.encrypted("events.csv", EVENTS)
    manifest = event_manifest(customer, data.name)
    customer.put(data, manifest)
    (first,) = instance.wait_for_imports(customer.name, 1)
    customer.put(data, manifest)
    second = instance.wait_for_imports(customer.name, 2)[1]

    assert (first["state"], first["rows_stored"]) == ("succeeded", 3)
    assert (second["state"], second["rows_stored"], second["duplicate_of"]) == ("skipped", 0, first["id"])
    assert len(events_of(instance, customer)) == 3
    mail = instance.post.about(second["id"], "Skipped: events.manifest - the same upload was imported before")
    assert mail["To"] == customer.email
    for kind in ("plain", "html"):
        body = mail.get_body((kind,))
        assert body is not None
        assert first["id"] in body.get_content()
    assert instance.post.count(second["id"]) == 1
    told = json.loads(customer.get(f"results/events.manifest.{second['id']}.json"))
    assert (told["state"], told["duplicate_of"]) == ("skipped", first["id"])

    customer.put(customer.encrypted("events.csv", EVENTS), manifest)
    third = instance.wait_for_imports(customer.name, 3)[2]
    assert (third["state"], third["rows_stored"], third["duplicate_of"]) == ("succeeded", 3, None)
    assert len(events_of(instance, customer)) == 6
