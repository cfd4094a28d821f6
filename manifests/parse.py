"""From the bytes of a manifest to a `Manifest`, or to every problem at once, each with its place (CONTRACT.md 2).

Whether it is JSON or YAML is seen from the content: ``{`` or ``[`` after blanks and comments begins JSON. What stops a
text from being read at all (a syntax error) is one problem; everything else is collected.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType

from manifests import encodings, scalars
from manifests.codes import FORBIDDEN_NAME, ROW_CODES
from manifests.dates import is_epoch
from manifests.errors import ManifestInvalid, Problem
from manifests.fields import Fields, Reading
from manifests.jsonc import first_significant, read_json
from manifests.model import Column, Manifest
from manifests.names import (
    EVENT_NAME,
    FORBIDDEN_IN_NAMES,
    MAX_EVENT_NAME_CHARS,
    TIMESTAMP,
    canonical_target,
    name_problem,
)
from manifests.node import Array, Member, Node, Object, Place, Scalar, Unreadable
from manifests.people import FIELD_TYPES
from manifests.schema import MAX_NULL_VALUES, ColumnDocument, ManifestDocument
from manifests.types import USER_COLUMNS, DataType, ImportType
from manifests.yaml_subset import read_yaml

MAX_JSON_BYTES = 256 * 1024
MAX_YAML_BYTES = 64 * 1024

_KEYS = ManifestDocument.keys()
_COLUMN_KEYS = ColumnDocument.keys()


def parse_manifest(data: bytes) -> Manifest:
    """The manifest in ``data``.

    Raises `ManifestInvalid` with every problem found and, unchecked, the file name and mail address if they could be
    read.
    """
    reading = Reading()
    try:
        root, remarks = _tree(data)
    except Unreadable as error:
        text = data.decode("utf-8", "replace")
        raise ManifestInvalid(
            (error.problem,), file_name=_glimpse(text, "fileName"), client_email=_glimpse(text, "clientEmail")
        ) from None
    manifest = _manifest(root, reading)
    if reading.problems or manifest is None:
        raise ManifestInvalid(
            tuple(sorted(reading.problems, key=lambda problem: (problem.line or 0, problem.column or 0))),
            remarks=remarks,
            file_name=_string_of(root, "fileName"),
            client_email=_string_of(root, "clientEmail"),
        )
    return manifest


def manifest_remarks(data: bytes) -> tuple[Problem, ...]:
    """What in a manifest that can be read is accepted here, but not by other programs; nothing for other bytes."""
    try:
        return _tree(data)[1]
    except Unreadable:
        return ()


def _tree(data: bytes) -> tuple[Node, tuple[Problem, ...]]:
    """The tree, and remarks on how it is written.

    Raises `Unreadable` when the bytes are no text, too many, or neither JSON nor YAML.
    """
    if len(data) > MAX_JSON_BYTES:
        raise Unreadable(f"the manifest is larger than {MAX_JSON_BYTES // 1024} KiB", None)
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise Unreadable(f"the manifest is not UTF-8 (at byte {error.start})", place) from None
    first = first_significant(text)
    if not first:
        raise Unreadable("the manifest is empty", None)
    if first in "{[/":
        return read_json(text)
    if len(data) > MAX_YAML_BYTES:
        raise Unreadable(f"a manifest in YAML is at most {MAX_YAML_BYTES // 1024} KiB", None)
    return read_yaml(text), ()


def _glimpse(text: str, key: str) -> str | None:
    """A key's value out of a text that cannot be parsed."""
    found = re.search(rf"""["']?{key}["']?[ \t]*:[ \t]*(?:"([^"\\\r\n]*)"|'([^'\r\n]*)'|([^"'\s,#{{}}]+))""", text)
    return next((group for group in found.groups() if group is not None), None) if found is not None else None


def _string_of(root: Node, key: str) -> str | None:
    if isinstance(root, Object):
        for member in root.members:
            if member.key == key and isinstance(member.value, Scalar) and isinstance(member.value.value, str):
                return member.value.value
    return None


def _manifest(root: Node, reading: Reading) -> Manifest | None:
    if not isinstance(root, Object):
        reading.add("", "a manifest is an object with the keys fileName, type, clientEmail, ...", root.place)
        return None
    fields = reading.fields(root, "", _KEYS)
    kind = fields.required("type", scalars.import_type)
    max_errors = fields.optional("maxErrors", scalars.max_errors)
    file_name = fields.required("fileName", scalars.file_name)
    client_email = fields.required("clientEmail", scalars.email)
    event_name = fields.optional("eventName", _event_name)
    delimiter = fields.optional("delimiter", scalars.delimiter) or ","
    quote = fields.optional("quote", scalars.quote) or '"'
    if delimiter == quote:
        fields.complain("quote" if fields.has("quote") else "delimiter", "delimiter and quote must differ")
    if event_name is not None and kind is ImportType.PROFILE:
        fields.complain("eventName", "profiles have no event name")
    columns = _columns(fields, kind, reading)
    header = fields.optional("header", scalars.boolean) is not False
    if not header and not columns:
        fields.complain("header", "a file without a header needs `columns`: they name its columns, in its order")
    encoding = fields.optional("encoding", encodings.encoding) or encodings.UTF_8
    key_id = fields.optional("keyId", scalars.key_id)
    null_values = _null_values(fields, reading)
    default_timezone = fields.optional("defaultTimezone", scalars.timezone) or "UTC"
    size = fields.optional("size", scalars.byte_count)
    sha256 = fields.optional("sha256", scalars.sha256)
    dry_run = fields.optional("dryRun", scalars.boolean) or False
    on_error = fields.optional("onError", scalars.on_error) or "skip"
    if file_name is None or kind is None or client_email is None:
        return None
    return Manifest(
        file_name=file_name,
        type=kind,
        client_email=client_email,
        key_id=key_id,
        columns=MappingProxyType(columns),
        delimiter=delimiter,
        quote=quote,
        encoding=encoding,
        header=header,
        null_values=null_values,
        event_name=event_name,
        default_timezone=default_timezone,
        size=size,
        sha256=sha256,
        dry_run=dry_run,
        on_error=on_error,
        max_errors=max_errors if isinstance(max_errors, int) else None,
        max_errors_percent=max_errors if isinstance(max_errors, float) else None,
    )


def _event_name(scalar: Scalar) -> str:
    name = scalars.text(scalar)
    if not 0 < len(name.strip()) <= MAX_EVENT_NAME_CHARS:
        raise scalars.Refused(f"must have 1 to {MAX_EVENT_NAME_CHARS} characters")
    if any(char in FORBIDDEN_IN_NAMES for char in name):
        raise scalars.Refused(ROW_CODES[FORBIDDEN_NAME].meaning)
    return name.strip()


def _null_values(fields: Fields, reading: Reading) -> tuple[str, ...]:
    node = fields.node("nullValues")
    if node is None:
        return ()
    if not isinstance(node, Array) or len(node.items) > MAX_NULL_VALUES:
        reading.add("nullValues", f"must be a list of at most {MAX_NULL_VALUES} strings", node.place)
        return ()
    values = [reading.scalar(item, f"nullValues[{index}]", scalars.text) for index, item in enumerate(node.items)]
    return tuple(value for value in values if value is not None)


def _columns(fields: Fields, kind: ImportType | None, reading: Reading) -> dict[str, Column]:
    node = fields.node("columns")
    if node is None:
        return {}
    if not isinstance(node, Object):
        reading.add("columns", 'must be an object: column of the file -> {"ctName", "dataType", ...}', node.place)
        return {}
    reading.refuse_doubled(node, "columns")
    return {member.key: _column(member, kind, reading) for member in node.members}


def _column(member: Member, kind: ImportType | None, reading: Reading) -> Column:
    path = f"columns.{member.key}"
    if isinstance(member.value, Scalar) and not member.value.typed and member.value.value == "":
        return _settled(Fields.empty(path, reading), member.key, Column(), kind)  # YAML: a key and nothing behind it
    if not isinstance(member.value, Object):
        reading.add(path, 'must be an object such as {"ctName": "Price", "dataType": "Integer"}', member.value.place)
        return Column()
    fields = reading.fields(member.value, path, _COLUMN_KEYS)
    column = Column(
        ct_name=fields.optional("ctName", scalars.text),
        data_type=fields.optional("dataType", scalars.data_type) or DataType.STRING,
        format=fields.optional("format", scalars.date_form),
        timezone=fields.optional("timezone", scalars.timezone),
        ignore=fields.optional("ignore", scalars.boolean) or False,
        separator=fields.optional("separator", scalars.separator),
    )
    if column.ct_name is not None and (problem := name_problem(column.ct_name)) is not None:
        fields.complain("ctName", problem)
    return _settled(fields, member.key, column, kind)


def _settled(fields: Fields, name: str, column: Column, kind: ImportType | None) -> Column:
    """The column with the type that its target asks for; complains where the two contradict each other."""
    target = canonical_target(column.ct_name or name.strip(), kind or ImportType.EVENT)
    if target == TIMESTAMP and not fields.has("dataType"):
        is_date = column.format is not None or column.timezone is not None
        column = replace(column, data_type=DataType.DATE if is_date else DataType.INTEGER)
    allowed = _allowed_types(target, kind)
    if fields.has("dataType") and column.data_type not in allowed and not column.ignore:
        fields.complain("dataType", f"{target} can only be {' or '.join(allowed)}")
    if column.data_type is not DataType.DATE:
        for key in ("format", "timezone"):
            if fields.has(key):
                fields.complain(key, f"only a Date has a {key}")
    elif column.timezone is not None and column.format is not None and is_epoch(column.format):
        fields.complain("timezone", "epoch time is always UTC")
    if column.data_type is not DataType.STRING_LIST and fields.has("separator"):
        fields.complain("separator", "only a StringList has a separator")
    return column


def _allowed_types(target: str, kind: ImportType | None) -> tuple[DataType, ...]:
    if target in USER_COLUMNS:
        return (DataType.STRING, DataType.INTEGER)
    if target == TIMESTAMP:
        return (DataType.INTEGER, DataType.DATE)
    if target == EVENT_NAME:
        return (DataType.STRING,)
    if kind is ImportType.PROFILE and target in FIELD_TYPES:
        return FIELD_TYPES[target]
    return tuple(DataType)
