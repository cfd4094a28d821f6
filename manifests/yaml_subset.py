"""The part of YAML that a manifest may use, with places: mappings, sequences and strings.

No anchors, aliases, tags or second documents, and no implicit types: ``NO``, ``12:30:45`` and ``0777`` stay strings
(FAULTS.md D6). Built from the parser's events, without recursion and without constructing any object.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from manifests.node import MAX_DEPTH, Array, Member, Node, Object, Place, Scalar, Unreadable


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that is not closed yet; a mapping's children are keys and values in turn."""

    place: Place
    is_mapping: bool
    children: list[Node] = field(default_factory=list)

    def closed(self) -> Node:
        if not self.is_mapping:
            return Array(tuple(self.children), self.place)
        return Object(
            tuple(
                Member(_key(key), key.place, value)
                for key, value in zip(self.children[::2], self.children[1::2], strict=True)
            ),
            self.place,
        )


def read_yaml(text: str) -> Node:
    """The tree of a YAML text. Raises `Unreadable` with the place of the first thing that a manifest may not have."""
    root: Node | None = None
    stack: list[_Open] = []
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            node = _next_node(event, stack)
            if node is None:
                continue
            if stack:
                stack[-1].children.append(node)
            elif root is None:
                root = node
            else:
                raise Unreadable("a manifest is one YAML document, not several", node.place)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else None
        raise Unreadable(f"this is not YAML: {error.problem or error.context}", place) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise Unreadable("this character is not allowed in YAML", place) from None
    if root is None:
        raise Unreadable("the manifest is empty", None)
    return root


def _next_node(event: yaml.Event, stack: list[_Open]) -> Node | None:
    """The node that this event completes, if it does; opens and closes mappings and sequences on ``stack``."""
    mark = event.start_mark
    place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
    if isinstance(event, yaml.AliasEvent):
        raise Unreadable("aliases (*name) are not allowed in a manifest", place)
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        raise Unreadable("anchors (&name) are not allowed in a manifest", place)
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
        raise Unreadable("tags (!name) are not allowed in a manifest", place)
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(event.value, place, typed=False)
    if isinstance(event, yaml.CollectionStartEvent):
        if len(stack) >= MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels", place)
        stack.append(_Open(place, is_mapping=isinstance(event, yaml.MappingStartEvent)))
        return None
    if isinstance(event, yaml.CollectionEndEvent):
        return stack.pop().closed()
    return None


def _key(node: Node) -> str:
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    raise Unreadable("a key must be a plain string", node.place)
