"""One machine on the screen: the sections of `asset-ledger assets show`, from the data of `store.query.asset_page`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from asset_ledger.cli.screen import UNKNOWN, age, aged, heading, instant, print_facts, print_table, say, show, size
from asset_ledger.cli.timeline import print_timeline
from asset_ledger.cli.wording import value_in_words

_NOT_A_FACT = ("schema", "identifiers", "unknown", "tags")
_SECTIONS = ("kind", "asset_type", "identity", "hardware", "os", "network", "runtime", "access")
"""The order of a document's parts on the screen; others follow."""


def print_page(page: dict[str, Any], *, today: date, days: int) -> None:
    """Print everything about one machine for people."""
    _print_current(page, today)
    print_words(page["sources"], lambda source: age(source["last_seen_date"], today), more=_standing)
    _print_decisions(page)
    _print_relations(page["relations"])
    _print_names(page)
    _print_instances(page["instances"])
    _print_candidates(page)
    _print_resolutions(page["resolutions"])
    _print_history(page["history"], days, page["corrections"])
    print_timeline(page["timeline"], more=page["timeline_more"])


def _print_current(page: dict[str, Any], today: date) -> None:
    carried = page["carried"]
    active = [tag["tag"] for tag in page["tags"] if tag["removed_at"] is None]
    reach = f"{page['protocol']}, port {page['port'] or 'default'}" if page["protocol"] else None
    system = " ".join(filter(None, (page["os_family"], page["os_version"])))
    system_day = min(filter(None, map(carried.get, ("os_family", "os_version"))), default=None)
    say(f"{page['hostname'] or 'no hostname'}  {page['mgmt_ip'] or 'no address'}  {page['id']}")
    facts = {
        "type": aged(page["asset_type"], carried.get("asset_type"), today),
        "platform": page["platform_type"],
        "zone": page["zone"],
        "cpu": aged(page["cpu_cores"], carried.get("cpu_cores"), today),
        "memory": aged(size(page["memory_bytes"]), carried.get("memory_bytes"), today),
        "disk": aged(size(page["disk_total_bytes"]), carried.get("disk_total_bytes"), today),
        "os": aged(system, system_day, today),
        "power": aged(page["power_state"], carried.get("power_state"), today),
        "probed by": reach,
        "credential": page["credential_ref"],
        "tags": active,
        "last seen": age(page["last_seen_date"], today),
        "in the ledger since": instant(page["created_at"]),
    }
    if page["missing_since"]:
        facts["missing since"] = instant(page["missing_since"])
    if page["deleted_at"]:
        facts["retired"] = instant(page["deleted_at"])
    for member in page["members"]:
        name = member["hostname"] or member["mgmt_ip"] or "no name"
        facts["merged into it"] = ", ".join(filter(None, (facts.get("merged into it"), f"{name} {member['id']}")))
    facts |= {f"custom.{name}": value for name, value in page["custom_fields"].items()}
    print_facts(facts, indent=2)


def print_words(
    sources: list[dict[str, Any]],
    last: Callable[[dict[str, Any]], str],
    *,
    more: Callable[[list[dict[str, Any]]], list[list[Any]]] = lambda _: [],
) -> None:
    """Print what every source says of a machine, side by side. `last` says how old a source's word is."""
    heading("What each source says")
    if not sources:
        say("  no source speaks of it")
        return
    documents = [source["document"] or {"unknown": source["unknown"]} for source in sources]
    leaves = [dict(_leaves(document)) for document in documents]
    unknown = [document.get("unknown", {}) for document in documents]
    fields = sorted({path for each in (*leaves, *unknown) for path in each}, key=_place)
    rows: list[list[Any]] = [
        ["last seen", *(last(source) for source in sources)],
        ["known there as", *(f"{source['external_kind']} {source['external_id']}" for source in sources)],
        *more(sources),
    ]
    for path in fields:
        cells = [
            _value(path, said[path]) if path in said else f"unknown: {why[path]}" if path in why else UNKNOWN
            for said, why in zip(leaves, unknown, strict=True)
        ]
        rows.append([path, *cells])
    names = [source["source"] + (" (closed)" if source.get("closed_at") else "") for source in sources]
    print_table(["field!", *(f"{name}…" for name in names)], rows, indent=2)


def _standing(sources: list[dict[str, Any]]) -> list[list[Any]]:
    rows: list[list[Any]] = [["first seen", *(instant(source["first_seen_at"]) for source in sources)]]
    if any(source["missing_since"] for source in sources):
        rows.append(["missing since", *(instant(source["missing_since"]) for source in sources)])
    if len({source["asset_id"] for source in sources}) > 1:
        rows.append(["of", *(str(source["asset_id"]) for source in sources)])
    return rows


def _print_decisions(page: dict[str, Any]) -> None:
    overrides = [each for each in page["decisions"] if each["kind"] == "override"]
    if not overrides:
        return
    heading("What a person decided")
    rows = [
        [
            each["field"],
            each["value"],
            each["actor"],
            each["decided_at"],
            each["note"],
            "yes" if each["asset_id"] == page["id"] else f"no: it is about {each['asset_id']}, merged into this one",
        ]
        for each in overrides
    ]
    print_table(["field!", "value…", "who", "when", "why…", "counts…"], rows, indent=2)


def _print_relations(relations: list[dict[str, Any]]) -> None:
    if not relations:
        return
    heading("What it hangs on, and what hangs on it")
    rows = [
        [
            each["kind"] if each["direction"] == "to" else f"({each['kind']} this)",
            each["hostname"] or f"{each['external_kind']} {each['external_id']}, not in the ledger",
            each["source"],
            each["began_at"],
            "current" if each["current"] else each["ended_at"] or "not seen any more",
            each["told_by_run"],
            each["other_end_by_run"],
        ]
        for each in relations
    ]
    columns = ["relation", "with!", "source", "since", "until", "told by run", "other end read by run"]
    print_table(columns, rows, indent=2)


def _print_candidates(page: dict[str, Any]) -> None:
    if not page["candidates"]:
        return
    heading("May be the same machine")
    rows = [[each["hostname"], each["mgmt_ip"], each["score"], each["id"]] for each in page["candidates"]]
    print_table(["machine!", "mgmt_ip!", "score>", "id!"], rows, indent=2)
    say("  `asset-ledger duplicates list` says why")


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


def _print_history(history: list[dict[str, Any]], days: int, corrections: int) -> None:
    heading(f"The last {days} days on which a source spoke of it")
    if corrections:
        many = "1 day was" if corrections == 1 else f"{corrections} days were"
        say(f"  {many} corrected later; `--as-of DAY --known-at INSTANT` shows what was known before")
    if not history:
        say("  no source has spoken of it yet")
        return
    rows = [
        [
            day["collected_date"],
            day["source"] + ("" if day["counts"] else " (merged, another counts)"),
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


def _place(path: str) -> tuple[int, str]:
    section = path.split(".", 1)[0]
    return (_SECTIONS.index(section) if section in _SECTIONS else len(_SECTIONS), path)


def _value(path: str, value: Any) -> str:
    if path.endswith("_bytes") and isinstance(value, int):
        return f"{size(value)} ({value})"
    return value_in_words(path, value)


def _leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if not prefix and name in _NOT_A_FACT:
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
