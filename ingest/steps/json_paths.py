"""Which keys of a JSON record are columns: the top-level ones, and those that a dotted path in the manifest names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from manifests.errors import HeaderMismatch
from manifests.model import Column
from manifests.names import shown


@dataclass(slots=True)
class Branch:
    """What is wanted of an object at one place: ``leaves`` are columns by key, ``inner`` the objects to look into."""

    leaves: dict[str, str] = field(default_factory=dict)
    inner: dict[str, Branch] = field(default_factory=dict)

    def below(self) -> Iterator[Branch]:
        """This branch and all below it; parents come first."""
        yield self
        for branch in self.inner.values():
            yield from branch.below()


def wanted(columns: Mapping[str, Column]) -> Branch:
    """The dotted paths of a manifest's columns as a tree; its root has no leaves: every top-level key is a column.

    A column that is ignored asks for nothing. Raises `HeaderMismatch` when a column is a whole object and another one
    a part of it.
    """
    root = Branch()
    for name, column in columns.items():
        *objects, key = name.split(".")
        if column.ignore or not objects or "" in (*objects, key):
            continue
        branch = root
        for depth, inner in enumerate(objects, start=1):
            whole = ".".join(objects[:depth])
            if whole in columns and not columns[whole].ignore:
                raise HeaderMismatch(
                    f"The manifest maps {shown(whole)} and its part {shown(name)}: keep one, or set ignore.",
                    column=name,
                )
            branch = branch.inner.setdefault(inner, Branch())
        branch.leaves[key] = name
    return root
