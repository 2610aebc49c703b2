"""What a reading did, on the screen: the same report, printed by the same code, for a dry run, an import and a run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from asset_ledger.cli.screen import print_table, say, show
from asset_ledger.cli.wording import Naming, difference_in_words, ends_of

SHOWN = 100
"""How many lines of each list are printed; `--json` has up to 1,000 and the counts are whole."""


def print_report(report: dict[str, Any], source: str | None = None) -> None:
    """Print the report of one reading, as `Outcome.report()` gives it and `ledger.inventories.report` keeps it.

    With its `source` the far ends of relations have the names that they have in the ledger.
    """
    if not report:
        say("  nothing is derived from it yet")
        return
    counts = report["counts"]
    told = (_records(counts), _instances(counts), _absent(counts), _written(counts), _not_taken(counts))
    lines = [line for line in told if line]
    for line in lines or ["it has no rows"]:
        say(f"  {line}")
    name = _naming(report["changes"], source)
    changes = [
        [each["external_id"], each["hostname"], *line]
        for each in report["changes"]
        for line in difference_in_words(each["field"], each["before"], each["after"], name)
    ]
    _print_list("changes", ["known as!", "hostname", "field", "before…", "after…"], changes)
    named = _named(report["conflicts"][:SHOWN])
    conflicts = [
        [each["external_id"], each["locator"], "\n".join(named.get(asset, asset) for asset in each["asset_ids"])]
        for each in report["conflicts"]
    ]
    _print_list("conflicts: nothing was written for these", ["known as!", "where", "ledger assets…"], conflicts)
    rejected = [
        [each["row"], each["column"] or "(the row)", each["code"], each["reason"], each["value"]]
        for each in report["rejected"]
    ]
    _print_list("not taken", ["row>", "column!", "code!", "reason…", "value…"], rejected)
    failed = [[each["target"], each["code"], each["message"]] for each in report["failed"]]
    _print_list("not read", ["target!", "code!", "message…"], failed)
    warnings = [[each["code"], each["locator"], each["message"]] for each in report["warnings"]]
    _print_list("warnings", ["code!", "where", "message…"], warnings)


def counted(counts: dict[str, int] | None) -> str:
    """Return a report's counts in one line, for a list of runs."""
    if not counts:
        return show(None)
    told = (_records(counts), _instances(counts), _absent(counts), _not_taken(counts))
    return "; ".join(filter(None, told)) or "nothing"


def _records(counts: dict[str, int]) -> str:
    if not counts["records"]:
        return ""
    named = (
        ("created", "new"),
        ("attached", "recognised by address"),
        ("updated", "updated"),
        ("unchanged", "unchanged"),
        ("conflicts", "in conflict"),
    )
    parts = [f"{counts[key]} {word}" for key, word in named if counts[key]]
    if counts.get("reused_ids"):
        parts.append(f"{counts['reused_ids']} under an id that another machine had before")
    return f"machines {counts['records']}: {', '.join(parts)}"


def _instances(counts: dict[str, int]) -> str:
    named = (("instances_new", "new"), ("instances_changed", "updated"), ("instances_unchanged", "unchanged"))
    parts = [f"{counts[key]} {word}" for key, word in named if counts[key]]
    return f"database instances {sum(counts[key] for key, _ in named)}: {', '.join(parts)}" if parts else ""


def _absent(counts: dict[str, int]) -> str:
    """Return what is missing since this reading, or no longer. A partial one can do that too: a machine that only it
    tells of may be missing by a complete one of a later day."""
    parts = [f"{counts['missing']} missing"] if counts.get("missing") else []
    parts += [f"{counts['revived']} seen again"] if counts.get("revived") else []
    told = [f"absences: {', '.join(parts)}"] if parts else []
    if counts.get("absences_held"):
        told.append("absences held, nothing is missing by them: `asset-ledger absences list`")
    return "; ".join(told)


def _written(counts: dict[str, int]) -> str:
    if not counts["specs_rows"]:
        return ""
    days, addresses = counts["specs_rows"], counts["ip_rows"]
    return f"history: {days} machine day{'s' * (days != 1)}, {addresses} address{'es' * (addresses != 1)}"


def _not_taken(counts: dict[str, int]) -> str:
    parts = []
    if counts["rejected_rows"]:
        parts.append(f"rows not taken: {counts['rejected_rows']} ({counts['rejected_cells']} cells)")
    if counts["failed_targets"]:
        parts.append(f"targets not read: {counts['failed_targets']}")
    if counts["warnings"]:
        parts.append(f"warnings: {counts['warnings']}")
    return ", ".join(parts)


def _named(conflicts: list[dict[str, Any]]) -> dict[str, str]:
    """Return by id what to call the assets that conflicts are between, as far as the ledger still has them."""
    from asset_ledger.cli.opening import connected
    from asset_ledger.store.query.assets import described

    ids = {UUID(asset) for each in conflicts for asset in each["asset_ids"]}
    if not ids:
        return {}
    with connected() as connection:
        return {str(asset): line for asset, line in described(connection, ids).items()}


def _naming(changes: list[dict[str, Any]], source: str | None) -> Naming:
    """Return how the far ends of changed relations are called."""
    from asset_ledger.cli.opening import connected
    from asset_ledger.store.query.changes import end_names_of

    ends = ends_of([(each["field"], each["before"], each["after"]) for each in changes])
    if source is None or not ends:
        return lambda *_: None
    with connected() as connection:
        names = end_names_of(connection, source, ends)
    return lambda kind, external_id: names.get((kind, external_id))


def _print_list(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    if not rows:
        return
    say(f"  {title}:")
    print_table(columns, rows[:SHOWN], indent=4)
    if len(rows) > SHOWN:
        say(f"    and {len(rows) - SHOWN} more")
