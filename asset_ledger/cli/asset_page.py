"""One machine on the screen: the sections of `asset-ledger assets show`, from the data of `store.asset_page`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from asset_ledger.cli.screen import UNKNOWN, age, heading, instant, print_facts, print_table, say, show, size

_NOT_A_FACT = ("schema", "identifiers", "unknown", "tags")
_SECTIONS = ("kind", "asset_type", "identity", "hardware", "os", "network", "runtime", "access")
"""The order of a document's parts on the screen; others follow."""


def print_page(page: dict[str, Any], *, today: date, days: int) -> None:
    """Print everything about one machine for people."""
    _print_current(page, today)
    _print_sources(page["sources"], today)
    _print_names(page)
    _print_instances(page["instances"])
    _print_resolutions(page["resolutions"])
    _print_history(page["history"], days)
    _print_changes(page["changes"])


def _print_current(page: dict[str, Any], today: date) -> None:
    seen = max((source["last_seen_date"] for source in page["sources"]), default=None)
    active = [tag["tag"] for tag in page["tags"] if tag["removed_at"] is None]
    reach = f"{page['protocol']}, port {page['port'] or 'default'}" if page["protocol"] else None
    say(f"{page['hostname'] or 'no hostname'}  {page['mgmt_ip'] or 'no address'}  {page['id']}")
    facts = {
        "type": page["asset_type"],
        "platform": page["platform_type"],
        "zone": page["zone"],
        "cpu": page["cpu_cores"],
        "memory": size(page["memory_bytes"]),
        "disk": size(page["disk_total_bytes"]),
        "os": " ".join(filter(None, (page["os_family"], page["os_version"]))),
        "power": page["power_state"],
        "probed by": reach,
        "credential": page["credential_ref"],
        "tags": active,
        "last seen": age(seen, today),
        "in the ledger since": instant(page["created_at"]),
    }
    if page["deleted_at"]:
        facts["retired"] = instant(page["deleted_at"])
    facts |= {f"custom.{name}": value for name, value in page["custom_fields"].items()}
    print_facts(facts, indent=2)


def _print_sources(sources: list[dict[str, Any]], today: date) -> None:
    heading("What each source says")
    if not sources:
        say("  no source speaks of it")
        return
    leaves = [dict(_leaves(source["document"])) for source in sources]
    unknown = [source["document"].get("unknown", {}) for source in sources]
    fields = sorted({path for each in (*leaves, *unknown) for path in each}, key=_place)
    rows: list[list[Any]] = [
        ["last seen", *(age(source["last_seen_date"], today) for source in sources)],
        ["first seen", *(instant(source["first_seen_at"]) for source in sources)],
        ["known there as", *(f"{source['external_kind']} {source['external_id']}" for source in sources)],
    ]
    for path in fields:
        cells = [
            _value(path, said[path]) if path in said else f"unknown: {why[path]}" if path in why else UNKNOWN
            for said, why in zip(leaves, unknown, strict=True)
        ]
        rows.append([path, *cells])
    names = [source["source"] + (" (closed)" if source["closed_at"] else "") for source in sources]
    print_table(["field!", *(f"{name}…" for name in names)], rows, indent=2)


def _print_names(page: dict[str, Any]) -> None:
    heading("Aliases")
    print_table(
        ["kind", "name!", "said by", "since"],
        [[each["kind"], each["value"], each["source"], each["created_at"]] for each in page["aliases"]],
        indent=2,
    ) if page["aliases"] else say("  none")
    heading("Identifiers")
    rows = [
        [each["kind"], each["value"], each["source"], each["first_seen_at"], each["last_seen_at"], each["current"]]
        for each in page["identifiers"]
    ]
    columns = ["kind", "value!", "source", "first seen", "last seen", "current"]
    print_table(columns, rows, indent=2) if rows else say("  none")
    heading("Tags")
    rows = [
        [each["tag"], each["added_by"], each["added_at"], each["removed_by"], each["removed_at"]]
        for each in page["tags"]
    ]
    print_table(["tag!", "added by", "added", "removed by", "removed"], rows, indent=2) if rows else say(
        f"  none; `asset-ledger tags add {page['hostname'] or page['id']} TAG` adds one"
    )


def _print_instances(instances: list[dict[str, Any]]) -> None:
    if not instances:
        return
    heading("Database instances on it")
    rows = [
        [
            each["name"],
            each["db_type"],
            f"{each['host']}:{each['port']}" if each["port"] else each["host"],
            each["match_status"],
            f"{each['matched_by_rule']}, {each['confidence']} %",
            each["source"],
        ]
        for each in instances
    ]
    print_table(["name!", "type", "address", "link", "by", "source"], rows, indent=2)


def _print_resolutions(resolutions: list[dict[str, Any]]) -> None:
    heading("How it got its id")
    rows = [
        [
            each["resolved_at"],
            each["source"],
            f"{each['external_kind']} {each['external_id']}",
            each["rule"],
            each["outcome"],
            ", ".join(f"{name} {show(value)}" for name, value in each["inputs"].items() if value not in (None, [])),
        ]
        for each in resolutions
    ]
    print_table(["when", "source", "known there as", "rule", "outcome", "inputs…"], rows, indent=2)


def _print_history(history: list[dict[str, Any]], days: int) -> None:
    heading(f"The last {days} days on which a source spoke of it")
    if not history:
        say("  no source has spoken of it yet")
        return
    rows = [
        [
            day["collected_date"],
            day["source"],
            day["cpu_cores"],
            size(day["memory_bytes"]),
            size(day["disk_total_bytes"]),
            " ".join(filter(None, (day["os_family"], day["os_version"]))),
            day["ip_addresses"],
            _reasons(day["unknown"]),
        ]
        for day in history
    ]
    print_table(["day!", "source", "cpu>", "memory>", "disk>", "os", "addresses", "not known because…"], rows, indent=2)


def _reasons(unknown: Mapping[str, str]) -> str:
    if "*" in unknown:
        return f"not read: {unknown['*']}"
    return ", ".join(f"{path}: {reason}" for path, reason in unknown.items())


def _print_changes(changes: list[dict[str, Any]]) -> None:
    heading("Changes")
    if not changes:
        say("  none in these days; --days N looks further back")
        return
    rows = [
        [
            each["collected_date"],
            each["since"],
            each["source"],
            each["field"],
            "(new)" if each["before"] is None else _value(each["field"], each["before"]),
            "(gone)" if each["after"] is None else _value(each["field"], each["after"]),
        ]
        for each in changes
    ]
    print_table(["day!", "compared with!", "source", "field", "before…", "after…"], rows, indent=2)


def _place(path: str) -> tuple[int, str]:
    section = path.split(".", 1)[0]
    return (_SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS), path)


def _value(path: str, value: Any) -> str:
    if path.endswith("_bytes") and isinstance(value, int):
        return f"{size(value)} ({value})"
    return show(value)


def _leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if not prefix and name in _NOT_A_FACT:
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
