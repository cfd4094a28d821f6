"""The published shape of a manifest: JSON Schema (draft 2020-12), generated from the two models below.

The models give the keys, their types and their meaning, to the schema and to `manifests.parse`, which takes its keys
from here; no manifest is read with them. What the schema refuses the parser refuses as well. The other way round the
parser knows more: rules between keys, names of time zones, doubled keys, places. The schema speaks of a manifest's
values; comments and trailing commas are beyond it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from manifests import scalars
from manifests.dates import DATE_FORMATS, DATE_PATTERNS, FORMAT_SPELLINGS
from manifests.names import MAX_NAME_CHARS
from manifests.types import DataType, ImportType

MAX_NULL_VALUES = 100


def _whole(pattern: str) -> dict[str, Any]:
    """The pattern for the whole text; Python's ``$`` alone would let a line feed follow."""
    return {"pattern": rf"^(?:{pattern})$(?!\n)"}


def _any_case(words: Iterable[str], *, between: str = "") -> str:
    """A pattern for the words in any letter case, with something around all characters."""
    cased = ([f"[{char.upper()}{char.lower()}]" if char.isalpha() else char for char in word] for word in words)
    return "|".join(between + between.join(chars) + between for chars in cased)


def _words(words: Iterable[str]) -> dict[str, Any]:
    """Words that an editor can offer, in any letter case and with blanks around them."""
    known = list(words)
    return {"anyOf": [{"enum": known}, _whole(rf"\s*(?:{_any_case(known)})\s*")]}


_PATTERNS = "|".join(pattern.replace(" ", r"\s+") for pattern in DATE_PATTERNS)
_SPELLINGS = _any_case(FORMAT_SPELLINGS, between=r"[\W_]*")
_DATE_FORMS = {"anyOf": [{"enum": list(DATE_FORMATS)}, _whole(rf"\s*(?:{_PATTERNS})\s*"), _whole(_SPELLINGS)]}
_PRINTABLE = "[ -/:-@\\[-`{-~]"  # ASCII without letters and digits

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
FileName: TypeAlias = Annotated[
    str,
    Field(json_schema_extra=_whole(r"[A-Za-z0-9_()+@](?:[A-Za-z0-9 ._()+@-]{0,126}[A-Za-z0-9_()+@-])?")),
]
Email: TypeAlias = Annotated[str, Field(max_length=scalars.MAX_EMAIL_CHARS, json_schema_extra=_whole(scalars.EMAIL))]
KeyId: TypeAlias = Annotated[str, Field(json_schema_extra=_whole(rf"\s*{scalars.UUID}\s*"))]
Type: TypeAlias = Annotated[str, Field(json_schema_extra=_words(ImportType))]
DataTypeName: TypeAlias = Annotated[str, Field(json_schema_extra=_words([*DataType, "Long"]))]
DateForm: TypeAlias = Annotated[str, Field(json_schema_extra=_DATE_FORMS)]
TimeZone: TypeAlias = Annotated[str, Field(min_length=1, examples=["Europe/Berlin", "UTC"])]
Delimiter: TypeAlias = Annotated[str, Field(json_schema_extra=_whole(rf"\t|{_PRINTABLE}"))]
Quote: TypeAlias = Annotated[str, Field(json_schema_extra=_whole(rf"(?! ){_PRINTABLE}"))]
Sha256: TypeAlias = Annotated[str, Field(json_schema_extra=_whole(r"\s*[0-9A-Fa-f]{64}\s*"))]
Percentage: TypeAlias = Annotated[str, Field(json_schema_extra=_whole(scalars.PERCENT))]
EventName: TypeAlias = Annotated[str, Field(min_length=1)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
ByteCount: TypeAlias = Annotated[int, Field(ge=1)]
Separator: TypeAlias = Annotated[str, Field(min_length=1, max_length=scalars.MAX_SEPARATOR_CHARS)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True)

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """The keys, as a sender writes them."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())


class ColumnDocument(_Document, title="Column"):
    """What becomes of one column of the file; one that is not described becomes a String of its own name."""

    ct_name: Name | None = None
    """Name of the property, or a target with a meaning: identity, objectId, FBID, GPID, evtName, ts, Email, ..."""
    data_type: DataTypeName | None = None
    """Type of the values; String when it is left out."""
    format: DateForm | None = None
    """Form of a Date; ISO 8601 when it is left out."""
    timezone: TimeZone | None = None
    """IANA time zone of a Date that does not say its own."""
    ignore: bool | None = None
    """Whether the column is left out."""
    separator: Separator | None = None
    """What stands between the values of a StringList; without it a cell is a JSON array of strings."""


class ManifestDocument(_Document, title="Manifest"):
    """What the sender says about one data file."""

    file_name: FileName
    type: Type
    """What the rows are."""
    client_email: Email
    """Where notices go: one plain address."""
    key_id: KeyId | None = None
    """The UUID that was issued for the key pair to which the file is encrypted; not a fingerprint."""
    columns: dict[str, ColumnDocument] | None = None
    """By column of the file, what becomes of it."""
    delimiter: Delimiter | None = None
    """Character between two fields; a comma when it is left out."""
    quote: Quote | None = None
    """Character around a field; a double quote when it is left out."""
    encoding: Annotated[str, Field(min_length=1)] | None = None
    """Encoding of the data file; UTF-8 when it is left out."""
    header: bool | None = None
    """Whether the first record names the columns, as it does when this is left out."""
    null_values: Annotated[list[str], Field(max_length=MAX_NULL_VALUES)] | None = None
    """Cells that are no value, besides empty ones."""
    event_name: EventName | None = None
    """One name for all events of the file."""
    default_timezone: TimeZone | None = None
    """IANA time zone of all dates for which no other is given; UTC when it is left out."""
    size: ByteCount | None = None
    """Bytes of the data file as it is uploaded."""
    sha256: Sha256 | None = None
    """SHA-256 of the data file as it is uploaded, in hexadecimal digits."""
    dry_run: bool | None = None
    """Whether everything is done but storing."""
    on_error: Literal["skip", "abort"] | None = None
    """Whether a rejected row is skipped, as it is when this is left out, or nothing is stored."""
    max_errors: Count | Percentage | None = None
    """Rejected rows, as a count or a percentage, beyond which nothing is stored."""


class _Generator(GenerateJsonSchema):
    """Without what says nothing to a sender: titles made of names, and null as a default."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def manifest_schema() -> dict[str, Any]:
    """The schema, as JSON types."""
    made = ManifestDocument.model_json_schema(by_alias=True, schema_generator=_Generator)
    return {"$schema": _Generator.schema_dialect, "$id": "urn:sealdrop:manifest", **made}


def schema_text() -> str:
    """The schema as indented JSON with a line feed at its end."""
    return json.dumps(manifest_schema(), indent=2, ensure_ascii=False) + "\n"
