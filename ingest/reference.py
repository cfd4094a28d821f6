"""The reference pages below docs/, written from the code: settings, codes of rows and failures, the manifest's schema.

    python -m ingest.reference docs

A test compares the pages with what this writes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ingest.outcomes import AFTER, OUR_FAULT, OUR_FAULT_CODE, Next
from ingest.settings import Settings
from manifests.codes import ROW_CODES
from manifests.schema import schema_text

_WRITTEN = "<!-- written by `python -m ingest.reference docs`; change the code, not this page -->"
_WHO = {Next.REJECT: "the sender", Next.DEFER: "nobody: it is tried again", Next.HOLD: "the operator"}


def configuration_page() -> str:
    """docs/configuration.md: every setting with its default, type and meaning."""
    lines = [
        "# Settings",
        _WRITTEN,
        "",
        "One TOML file; `sealdrop init` makes it. Each value can also come from the environment, which wins: "
        "`SEALDROP_DOOR__PORT=22` sets `port` in `[door]`. Relative paths are relative to the settings file. "
        "Unknown names are refused. Secrets are never settings: a setting names the file that holds one.",
        "",
        "## Top level",
        "",
        *_table(Settings),
    ]
    for name, field in Settings.model_fields.items():
        if (section := _section(field)) is not None:
            lines += ["", f"## [{name}]", "", inspect.getdoc(section) or "", "", *_table(section)]
    return "\n".join(lines) + "\n"


def codes_page() -> str:
    """docs/codes.md: codes of rejected rows, and codes of failures with who can fix them."""
    lines = [
        "# Codes",
        _WRITTEN,
        "",
        "## Rejected rows",
        "",
        "A row that breaks a rule is not stored; its number, column, code and reason stand in the report and in the "
        "mail, its values only in the encrypted reject file. Codes below 600 are those of the upload API.",
        "",
        "| code | name | meaning | what to do |",
        "|---|---|---|---|",
    ]
    lines += [_row(code.code, code.name, code.meaning, code.remedy) for _, code in sorted(ROW_CODES.items())]
    lines += [
        "",
        "## Failures of a file",
        "",
        "Nothing of the file was stored.",
        "",
        "| code | meaning | who can fix it | how |",
        "|---|---|---|---|",
    ]
    failures = {str(vars(error)["code"]): (error, after) for error, after in AFTER.items()}
    for code, (error, after) in sorted(failures.items()):
        lines.append(_row(f"`{code}`", _first_sentence(error), _WHO[after.next], after.remedy))
    ours = "Something went wrong on our side."
    lines.append(_row(f"`{OUR_FAULT_CODE}`", ours, _WHO[OUR_FAULT.next], OUR_FAULT.remedy))
    return "\n".join(lines) + "\n"


def _table(model: type[BaseModel]) -> Iterator[str]:
    yield "| setting | default | type | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        if _section(field) is None:
            yield _row(f"`{name}`", _default(field), _type(field), field.description)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:_}`" if isinstance(value, int) and value >= 10_000 else f"`{value}`"


def _type(field: FieldInfo) -> str:
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)] or [field.annotation]
    names = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", Path: "path"}
    return " or ".join(f"`{kind}`" if isinstance(kind, str) else names[kind] for kind in kinds)


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _first_sentence(error: type[Exception]) -> str:
    return (inspect.getdoc(error) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")


PAGES = {"configuration.md": configuration_page, "codes.md": codes_page, "manifest.schema.json": schema_text}


def main() -> None:
    """Write the pages into the folder named."""
    folder = Path(sys.argv[1])
    for name, page in PAGES.items():
        (folder / name).write_text(page())


if __name__ == "__main__":
    main()
