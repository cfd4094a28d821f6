"""The answer to an upload, as bytes of JSON: what was not stored, and why, beside the record as it came."""

from __future__ import annotations

import json

from ingest.uploads.batch import Upload
from ingest.uploads.body import Fault
from manifests.codes import BAD_ENCODING, BAD_JSON
from manifests.names import shown


def answer_of(upload: Upload) -> bytes:
    """The answer to an upload that was carried out.

    A record stands in it exactly as it was sent; one that was no JSON is a string.
    """
    total = len(upload.body.records)
    refused = [_refused(fault, upload.body.texts[number]) for number, fault in sorted(upload.faults.items())]
    status = "success" if not refused else "partial" if len(refused) < total else "fail"
    head = f'{{"status": "{status}", "processed": {total - len(refused)}, "unprocessed": ['
    return f"{head}{', '.join(refused)}]}}".encode()


def _refused(fault: Fault, text: str) -> str:
    error = fault.reason if fault.column is None else f"{shown(fault.column)}: {fault.reason}"
    record = json.dumps(text) if fault.code in (BAD_JSON, BAD_ENCODING) else text
    said = json.dumps({"status": "fail", "code": fault.code, "error": error}, ensure_ascii=False)
    return f'{said[:-1]}, "record": {record}}}'
