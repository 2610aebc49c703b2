"""What happened to a record from one word to the next, and for how long a value that nobody told since is carried.

Pure: `store.query.asset_page` and `store.query.changes` bring the words; `store.derive.settle` and `store.query.as_of`
carry values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from asset_ledger.domain.normalized import Document

CARRY_DAYS = 30
"""For how many days the last known value of a field stands in, labelled with its age, where nobody told it since."""

Change = Literal["appeared", "changed", "added", "removed", "moved", "missing", "seen again"]
CHANGES: tuple[Change, ...] = ("appeared", "changed", "added", "removed", "moved", "missing", "seen again")

FIELDS = {
    "hardware.cpu_count": "cpu_cores",
    "hardware.memory_bytes": "memory_bytes",
    "hardware.disk_total_bytes": "disk_total_bytes",
    "hardware.vendor": "vendor",
    "hardware.model": "model",
    "identity.hostname": "hostname",
    "identity.caption": "caption",
    "identity.mgmt_ip": "mgmt_ip",
    "identity.serial_number": "serial_number",
    "identity.machine_uuid": "machine_uuid",
    "identity.cloud_native_id": "cloud_native_id",
    "os.family": "os_family",
    "os.name": "os_name",
    "os.version": "os_version",
    "os.kernel": "os_kernel",
    "runtime.power_state": "power_state",
    "runtime.virtualization": "virtualization",
    "access.protocol": "protocol",
    "access.port": "port",
    "access.credential_ref": "credential_ref",
    "network.ip_addresses": "ip",
    "network.mac_addresses": "mac",
    "network.interfaces": "interface",
    "tags": "tag",
}
"""The name by which people ask for a field of a document. Other paths are their own names."""

_NOT_TOLD = ("schema", "unknown", "identifiers")  # identifiers repeat what other fields say
_LISTS = ("network.ip_addresses", "network.mac_addresses", "tags")
_CUSTOM = "custom_fields"


@dataclass(frozen=True, slots=True)
class Word:
    """A run of days on which a record said one document."""

    first_date: date
    last_date: date
    document: Document


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a record, by `day`; `since` is the last day on which it was known to be otherwise.

    `field` is the name people use. Something added has nothing before, something removed nothing after. The ends of
    relations are objects with `external_kind` and `external_id`.
    """

    day: date
    since: date | None
    change: Change
    field: str
    before: Any
    after: Any


def events(words: Iterable[Word]) -> Iterator[Event]:
    """Yield what happened from word to word of one record, oldest first.

    A field is compared with its last known value, however long ago that was told. What is absent from a document is
    unknown, whether a reason is given or not, and so is a power state that the source itself calls unknown: neither
    becoming unknown nor becoming known for the first time happened to the machine.
    """
    known: dict[str, tuple[Any, date]] = {}
    first = True
    for word in words:
        if first:
            yield Event(word.first_date, None, "appeared", "record", None, None)
            first = False
        told = _told(word.document, known)
        gone, came = _addresses(known, told)
        for path in sorted(told):
            now = told[path]
            if path in known and known[path][0] != now:
                was, since = known[path]
                yield from _differences(path, was, now, (word.first_date, since), (gone, came))
        known |= {path: (now, word.last_date) for path, now in told.items()}


def field_name(path: str) -> str:
    """Return the name by which people ask for a field of a document."""
    return FIELDS.get(path, path)


def list_differences(path: str, before: Any, after: Any) -> list[tuple[str, Any, Any]] | None:
    """Return the pieces that differ of two values of `relations` or `network.interfaces` as `(field, before, after)`.

    A relation's field is its kind and its values are its ends, as in `Event`; an interface's are whole interfaces. None
    for any other path, and where no piece differs.
    """
    if path == "relations":
        was, now = (_relations(value or ()) for value in (before, after))
        told = [(event.field, event.before, event.after) for event in _moves(was, now, date.min, date.min)]
        return told or None
    if path == "network.interfaces":
        old, new = ({each["name"]: each for each in value or ()} for value in (before, after))
        return [
            ("interface", old.get(name), new.get(name))
            for name in dict.fromkeys((*old, *new))
            if old.get(name) != new.get(name)
        ] or None
    return None


def _relations(told: Iterable[Mapping[str, str]]) -> frozenset[tuple[str, str, str]]:
    return frozenset((each["kind"], each["external_kind"], each["external_id"]) for each in told)


def _told(document: Document, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document says, by path, in values that compare equal when they mean the same.

    A source that tells custom fields tells all of them: one that was there and is not is told to be None.
    """
    told = dict(_leaves(document))
    if told.get("runtime.power_state") == "unknown":
        del told["runtime.power_state"]
    for path in _LISTS:
        if path in told:
            told[path] = frozenset(told[path])
    if "network.interfaces" in told:
        told["network.interfaces"] = {each["name"]: each for each in told["network.interfaces"]}
    if "relations" in told:
        told["relations"] = _relations(told["relations"])
    custom = document.get(_CUSTOM)
    if isinstance(custom, dict):
        told[_CUSTOM] = {name: value for name, value in custom.items() if value is not None}
        unread = {path.partition(".")[2] for path in document.get("unknown", {}) if path.startswith(f"{_CUSTOM}.")}
        if unread and _CUSTOM in known:
            before = known[_CUSTOM][0]
            told[_CUSTOM] = {name: before[name] for name in unread & before.keys()} | told[_CUSTOM]
    return told


def _leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if not prefix and key in (*_NOT_TOLD, _CUSTOM):
            continue
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _addresses(known: Mapping[str, tuple[Any, date]], told: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the addresses (IP and MAC) that went and that came: events of their own, not of the interface as well."""
    gone: set[str] = set()
    came: set[str] = set()
    for path in _LISTS[:2]:
        if path in known and path in told:
            gone |= known[path][0] - told[path]
            came |= told[path] - known[path][0]
    return gone, came


def _differences(
    path: str, was: Any, now: Any, days: tuple[date, date], addresses: tuple[set[str], set[str]]
) -> Iterator[Event]:
    day, since = days
    if path == "relations":
        yield from _moves(was, now, day, since)
    elif path in _LISTS:
        yield from (Event(day, since, "removed", field_name(path), value, None) for value in sorted(was - now))
        yield from (Event(day, since, "added", field_name(path), None, value) for value in sorted(now - was))
    elif path == _CUSTOM:
        for name in sorted({*was, *now}):
            before, after = was.get(name), now.get(name)
            if before != after:
                change: Change = "added" if before is None else "removed" if after is None else "changed"
                yield Event(day, since, change, f"{_CUSTOM}.{name}", before, after)
    elif path == "network.interfaces":
        gone, came = addresses
        yield from (Event(day, since, "removed", "interface", name, None) for name in sorted(was.keys() - now))
        yield from (Event(day, since, "added", "interface", None, name) for name in sorted(now.keys() - was))
        for name in sorted(was.keys() & now):
            if _without(was[name], gone) != _without(now[name], came):
                yield Event(day, since, "changed", "interface", was[name], now[name])
    else:
        yield Event(day, since, "changed", field_name(path), was, now)


def _without(interface: Mapping[str, Any], addresses: set[str]) -> tuple[Any, set[str]]:
    mac = interface.get("mac_address")
    return None if mac in addresses else mac, set(interface["ip_addresses"]) - addresses


def _moves(
    was: frozenset[tuple[str, str, str]], now: frozenset[tuple[str, str, str]], day: date, since: date
) -> Iterator[Event]:
    for kind in sorted({relation[0] for relation in was ^ now}):
        gone = [_end(relation) for relation in sorted(was - now) if relation[0] == kind]
        came = [_end(relation) for relation in sorted(now - was) if relation[0] == kind]
        if len(gone) == len(came) == 1:
            yield Event(day, since, "moved", kind, gone[0], came[0])
            continue
        yield from (Event(day, since, "removed", kind, end, None) for end in gone)
        yield from (Event(day, since, "added", kind, None, end) for end in came)


def _end(relation: tuple[str, str, str]) -> dict[str, str]:
    return {"external_kind": relation[1], "external_id": relation[2]}
