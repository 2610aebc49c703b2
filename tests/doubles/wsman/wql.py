"""WQL over rows of WMI classes, and how rows are written. Pure; raises RefusalError as WMI refuses a query."""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from tests.doubles.wsman.envelope import CIM, XSI
from tests.doubles.wsman.refusals import BAD_QUERY, RefusalError

Row = Mapping[str, Any]  # str, int, bool, datetime, None, or a list of them
_WMI = "http://schemas.microsoft.com/wbem/wsman/1/wmi"
_QUERY = re.compile(
    r"\s*select\s+(?P<list>.+?)\s+from\s+(?P<cls>\w+)(?:\s+where\s+(?P<where>.+?))?\s*;?\s*\Z", re.I | re.S
)
_CONDITION = re.compile(
    r"""\s*(?P<name>\w+)\s*(?P<how>=|<>|!=|<=|>=|<|>|\bis\s+not\b|\bis\b|\blike\b)\s*
    (?P<value>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[-\w.]+)\s*(?P<more>\band\b|\Z)""",
    re.I | re.X | re.S,
)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Table:
    """One class: its rows, and the properties that it has without any."""

    rows: Sequence[Row]
    properties: Sequence[str] = ()

    def known(self) -> dict[str, str]:
        """Return every property by its name in lower case; empty where nothing tells of one."""
        names = [*self.properties, *(name for row in self.rows for name in row)]
        return {name.lower(): name for name in names}


@dataclass(frozen=True)
class Query:
    """A query: properties None is *."""

    properties: tuple[str, ...] | None
    cls: str
    conditions: tuple[tuple[str, str, Any], ...]


def parse(text: str) -> Query:
    """Read a query, or refuse it as WMI does."""
    found = _QUERY.match(text)
    if found is None:
        raise RefusalError(BAD_QUERY, provider=True)
    names = [name.strip() for name in found["list"].split(",")]
    if names != ["*"] and not all(re.fullmatch(r"\w+", name) for name in names):
        raise RefusalError(BAD_QUERY, provider=True)
    return Query(None if names == ["*"] else tuple(names), found["cls"], tuple(_conditions(found["where"] or "")))


def _conditions(text: str) -> Iterable[tuple[str, str, Any]]:
    at = 0
    while at < len(text):
        found = _CONDITION.match(text, at)
        if found is None or (found["more"] and found.end() == len(text)):
            raise RefusalError(BAD_QUERY, provider=True)
        yield found["name"], " ".join(found["how"].lower().split()), _value(found["value"])
        at = found.end()


def _value(text: str) -> Any:
    if text[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    word = text.lower()
    if word in {"true", "false"}:
        return word == "true"
    if word == "null":
        return None
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise RefusalError(BAD_QUERY, provider=True) from None


def run(text: str, tables: Mapping[str, Table | Sequence[Row]], namespace: str) -> list[str]:
    """Return the rows of a query, written."""
    query = parse(text)
    cls = next((name for name in tables if name.lower() == query.cls.lower()), None)
    if cls is None:
        raise RefusalError(BAD_QUERY, provider=True)
    said = tables[cls]
    table = said if isinstance(said, Table) else Table(said)
    known = table.known()
    asked = [*(query.properties or ()), *(name for name, _, _ in query.conditions)]
    if known and any(name.lower() not in known for name in asked):
        raise RefusalError(BAD_QUERY, provider=True)
    rows = [row for row in table.rows if all(_holds(row, known, *condition) for condition in query.conditions)]
    if query.properties is None:
        return [_instance(cls, row, known.values(), namespace) for row in rows]
    names = [known.get(name.lower(), name) for name in query.properties]
    return [_fragment(row, names) for row in rows]


def _holds(row: Row, known: Mapping[str, str], name: str, how: str, value: Any) -> bool:
    mine = row.get(known.get(name.lower(), name))
    if how in {"=", "is"}:
        return _equal(mine, value)
    if how in {"<>", "!=", "is not"}:
        return not _equal(mine, value)
    if mine is None or value is None:
        return False
    if how == "like":
        pattern = re.escape(str(value)).replace("%", ".*").replace("_", ".")
        return re.fullmatch(pattern, str(mine), re.I) is not None
    return _ORDER[how](mine, value)


def _equal(mine: Any, value: Any) -> bool:
    if mine is None or value is None:
        return mine is value
    if isinstance(mine, bool) or isinstance(value, bool):
        return str(mine).lower() == str(value).lower()
    return str(mine).lower() == str(value).lower()


def _instance(cls: str, row: Row, properties: Iterable[str], namespace: str) -> str:
    """Write a whole instance, as for SELECT *: typed, arrays as repeated elements, in the order of the alphabet."""
    inner = "".join(_property(name, row.get(name), "p:") for name in sorted(properties, key=str.lower))
    return (
        f'<p:{cls} xmlns:xsi="{XSI}" xmlns:p="{_WMI}/{namespace}/{cls}" xmlns:cim="{CIM}" '
        f'xsi:type="p:{cls}_Type">{inner}</p:{cls}>'
    )


def _fragment(row: Row, properties: Iterable[str]) -> str:
    """Write a list of properties: without a namespace, and without any array."""
    inner = "".join(_property(name, row.get(name), "") for name in properties if not isinstance(row.get(name), list))
    return f'<w:XmlFragment xmlns:xsi="{XSI}" xmlns:cim="{CIM}">{inner}</w:XmlFragment>'


def _property(name: str, value: Any, prefix: str) -> str:
    if isinstance(value, list):
        return "".join(_property(name, one, prefix) for one in value) if value else f'<{prefix}{name} xsi:nil="true"/>'
    if value is None:
        return f'<{prefix}{name} xsi:nil="true"/>'
    if isinstance(value, datetime.datetime):
        text = f"<cim:Datetime>{value.isoformat()}</cim:Datetime>"
    else:
        text = str(value).lower() if isinstance(value, bool) else escape(str(value))
    return f"<{prefix}{name}>{text}</{prefix}{name}>"
