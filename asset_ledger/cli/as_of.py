"""The ledger of a past day on the screen: a list, and one machine, every value with its age where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from asset_ledger.cli.asset_page import print_words
from asset_ledger.cli.screen import (
    UNKNOWN,
    aged,
    gib,
    heading,
    instant,
    note,
    print_facts,
    print_table,
    say,
    short,
    size,
)
from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.calendar import collected_date


def known(asked: AsOf) -> str:
    """Return what was asked in words: `as of 2026-11-03, as it was known at …`."""
    then = "" if asked.known_at is None else f", as it was known at {instant(asked.known_at)}"
    return f"as of {asked.day}{then}"


def print_past(found: list[dict[str, Any]], asked: AsOf) -> None:
    """Print a page of a day."""
    columns = ["hostname!", "mgmt_ip!", "type", "cpu>", "GiB>", "disk GiB>", "os", "power", "sources", "as of!", "id!"]
    print_table(*with_zones(columns, [_row(asset, asked) for asset in found], found))


def with_zones(
    columns: Sequence[str], table: Sequence[Sequence[Any]], found: Sequence[dict[str, Any]]
) -> tuple[list[str], list[list[Any]]]:
    """Return a table of assets with a column of their zones after the address, where they are not all of one zone."""
    if len({asset["zone"] for asset in found}) < 2:
        return [*columns], [[*row] for row in table]
    place = columns.index("mgmt_ip!") + 1
    rows = [[*row[:place], asset["zone"], *row[place:]] for row, asset in zip(table, found, strict=True)]
    return [*columns[:place], "zone", *columns[place:]], rows


def _row(asset: dict[str, Any], asked: AsOf) -> list[Any]:
    # of a machine that was not read that day every value is as old as that: said once
    carried = {} if _is_as_a_whole(asset) else asset["carried"]
    system = " ".join(filter(None, (asset["os_family"], asset["os_version"]))) or UNKNOWN
    cells = {
        "hostname": asset["hostname"],
        "mgmt_ip": asset["mgmt_ip"],
        "asset_type": asset["asset_type"],
        "cpu_cores": asset["cpu_cores"],
        "memory_bytes": gib(asset["memory_bytes"]),
        "disk_total_bytes": gib(asset["disk_total_bytes"]),
        "os_family": system,
        "power_state": asset["power_state"],
    }
    return [
        *(aged(value, carried.get(field), asked.day) for field, value in cells.items()),
        asset["sources"],
        _when(asset, asked),
        short(asset["id"]),
    ]


def _is_as_a_whole(asset: dict[str, Any]) -> bool:
    days = set(asset["carried"].values())
    return asset["seen_date"] is not None and days == {asset["seen_date"]}


def _when(asset: dict[str, Any], asked: AsOf) -> str:
    then = [when(asset, asked)]
    if asset["missing_since"]:
        then.append(f"missing since {collected_date(asset['missing_since'])}")
    if asset["retired_at"]:
        then.append(f"retired {collected_date(asset['retired_at'])}")
    return ", ".join(then)


def when(asset: dict[str, Any], asked: AsOf) -> str:
    """Return of which day what is shown is: `read that day`, `carried, 3 days old`, or that nothing is known."""
    seen = asset["seen_date"]
    if seen is None:
        return "could not be read"
    if seen == asked.day:
        return "read that day"
    days = (asked.day - seen).days
    return f"carried, {days} day{'s' if days != 1 else ''} old"


def print_past_page(page: dict[str, Any], asked: AsOf) -> None:
    """Print what was known of one machine on a day."""
    if page["first_day"] is None:
        note(f"{page['id']}: nothing was known of it {known(asked)}.")
        return
    say(f"{page['hostname'] or 'no hostname'}  {page['mgmt_ip'] or 'no address'}  {page['id']}")
    say(f"{known(asked)} ({when(page, asked)})")
    print_facts({name: _fact(page, name, asked) for name in _SHOWN} | _standing(page), indent=2)
    print_words(page["sources"], lambda source: _age(source["collected_date"], asked))
    if page["relations"]:
        heading("What it hung on")
        rows = [
            [each["kind"], each["name"] or each["external_id"], each["external_kind"], each["source"], each["day"]]
            for each in page["relations"]
        ]
        print_table(["relation", "with!", "kind", "said by", "day"], rows, indent=2)


def _age(day: date, asked: AsOf) -> str:
    days = (asked.day - day).days
    ago = "that day" if days == 0 else "1 day before" if days == 1 else f"{days} days before"
    return f"{day} ({ago})"


_SHOWN = (
    "asset_type", "cpu_cores", "memory_bytes", "disk_total_bytes", "os_family", "os_version", "power_state",
    "ip_addresses", "hostname", "mgmt_ip",
)  # fmt: skip


def _fact(page: dict[str, Any], field: str, asked: AsOf) -> str:
    value = size(page[field]) if field.endswith("_bytes") else page[field]
    if field in page["unknown"]:
        return f"unknown: {page['unknown'][field]}"
    if field in page["decided"]:
        return f"{value}, decided by {page['decided'][field]}"
    return aged(value, page["carried"].get(field), asked.day)


def _standing(page: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {f"custom.{name}": value for name, value in page["custom_fields"].items()}
    if page["missing_since"]:
        facts["missing since"] = instant(page["missing_since"])
    if page["retired_at"]:
        facts["retired"] = instant(page["retired_at"])
    if page["members"]:
        facts["merged into it"] = page["members"]
    return facts
