"""Values of vSphere's types, and how they stand in XML: in `<val>` with their type, inside others without.

Two spellings, as in soap.py. The types are as the schema has them; nothing here knows what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from tests.doubles.vcenter.soap import XSI, Spelling


class Short(int):
    """xsd:short."""


class Long(int):
    """xsd:long."""


@dataclass(frozen=True)
class Stamp:
    """xsd:dateTime."""

    text: str


@dataclass(frozen=True)
class Enum:
    type: str
    value: str


@dataclass(frozen=True)
class Ref:
    type: str
    moid: str


@dataclass(frozen=True)
class Data:
    """A data object. `typed`: its type is written wherever it stands, for the field may hold others."""

    type: str
    fields: Mapping[str, Value | None]
    typed: bool = False


@dataclass(frozen=True)
class Array:
    """Values of one type, named as in ArrayOf…; `item` is the element's name inside."""

    item: str
    items: Sequence[Value]


Value = str | bool | int | Short | Long | Stamp | Enum | Ref | Data | Array


def type_name(value: Value) -> str:
    """Return what stands in xsi:type."""
    match value:
        case str():
            return "xsd:string"
        case bool():
            return "xsd:boolean"
        case Short():
            return "xsd:short"
        case Long():
            return "xsd:long"
        case int():
            return "xsd:int"
        case Stamp():
            return "xsd:dateTime"
        case Ref():
            return "ManagedObjectReference"
        case Array():
            return f"ArrayOf{value.item[0].upper()}{value.item[1:]}"
    return value.type


def _inside(value: Value, spelling: Spelling) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return escape(value)
        case int():
            return str(int(value))
        case Stamp():
            return value.text
        case Enum():
            return escape(value.value)
        case Ref():
            return escape(value.moid)
        case Array():
            return "".join(_item(value.item, one, spelling) for one in value.items)
    return "".join(_field(name, one, spelling) for name, one in value.fields.items() if one is not None)


def _nested_type(type_: str, spelling: Spelling) -> str:
    return f' {"xsi" if spelling == "vpxd" else "XMLSchema-instance"}:type="{type_}"'


def _item(name: str, value: Value, spelling: Spelling) -> str:
    """Return an element: of an array, or of a field that is one value."""
    attributes = ""
    if isinstance(value, Ref):
        attributes = f" type={quoteattr(value.type)}"
    elif isinstance(value, Data) and (value.typed or spelling == "vpxd"):
        attributes = _nested_type(value.type, spelling)
    return f"<{name}{attributes}>{_inside(value, spelling)}</{name}>"


def _field(name: str, value: Value, spelling: Spelling) -> str:
    if isinstance(value, Array):
        return "".join(_item(name, one, spelling) for one in value.items)
    return _item(name, value, spelling)


def field(name: str, value: Value, spelling: Spelling) -> str:
    """Return a field of a data object: one element, or one an item."""
    return _field(name, value, spelling)


def typed(name: str, value: Value, spelling: Spelling) -> str:
    """Return an element that says its own type: `<val>` of a property, `<returnval>` of a Fetch."""
    kind = type_name(value)
    of = f" type={quoteattr(value.type)}" if isinstance(value, Ref) else ""
    if spelling == "vpxd":
        attributes = f'{of} xsi:type="{kind}"'
    else:
        attributes = f' xmlns:XMLSchema-instance="{XSI}" XMLSchema-instance:type="{kind}"{of}'
    return f"<{name}{attributes}>{_inside(value, spelling)}</{name}>"


def at(tree: Data, path: str) -> Value | None:
    """Return the value at a path, or None where it is unset or none."""
    here: Value | None = tree
    for step in path.split("."):
        if not isinstance(here, Data):
            return None
        here = here.fields.get(step)
    return here
