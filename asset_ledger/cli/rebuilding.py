"""`asset-ledger rebuild`: everything derived made again from raw and decisions, or proof that it is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asset_ledger.cli.opening import connected, open_ledger
from asset_ledger.cli.screen import note, print_json, print_table, say, show

if TYPE_CHECKING:
    from asset_ledger.pipeline.rebuild import Report
    from asset_ledger.store.derive.evidence import Difference

_KEYS = (
    "id",
    "collected_date",
    "asset_id",
    "other_asset_id",
    "instance_id",
    "source_id",
    "link_id",
    "from_link_id",
    "first_date",
    "kind",
    "to_kind",
    "to_external_id",
    "value",
    "tag",
    "ip",
)
"""Columns that tell rows of a table apart; those it has are shown of every row that differs."""


def rebuild(
    verify: Annotated[bool, typer.Option("--verify", help="Compare and roll back: nothing is changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make everything that is derived again from raw readings and decisions.

    With --verify it is compared with what is there and rolled back; the exit code is 1 where anything differs.
    Nothing is read from sources meanwhile, and no evidence or decision is touched.
    """
    from asset_ledger.pipeline.rebuild import rebuild as made_again
    from asset_ledger.sources.config import load_sources

    ledger = open_ledger(reads_sources=True)
    if not verify and not yes:
        note("Every derived row is dropped and made again with today's parsers; readings wait meanwhile.")
        note("See first what would change: `asset-ledger rebuild --verify`.")
        typer.confirm("Rebuild the ledger?", abort=True, err=True)
    # the disabled ones too: their raw is evidence like any other
    sources = load_sources(ledger.settings.sources_file, ledger.settings.home)
    with connected(ledger) as connection:
        report = made_again(connection, sources, verify=verify, say=note)
    if as_json:
        print_json(_document(report, verify=verify))
    else:
        _print(report, verify=verify)
    if verify and report.differences:
        from asset_ledger.domain.errors import REBUILD_DIFFERS, PermanentError

        tables = ", ".join(each.table for each in report.differences)
        raise PermanentError(REBUILD_DIFFERS, f"{len(report.differences)} tables differ: {tables}")


def _print(report: Report, *, verify: bool) -> None:
    rows = [[table, *digest.split(" rows, ")] for table, digest in report.digests.items()]
    print_table(["table!", "rows>", "digest!"], rows)
    for name, count in report.stale.items():
        say(
            f"{count} readings of {name} were derived by another version of its parser: "
            f"`asset-ledger replay {name} --from DAY --plan` says what today's would change"
        )
    for table, count in report.behind.items():
        say(f"{table}: {count} rows were not what the assets say now; they follow the readings (`ledger_follow`)")
    for difference in report.differences:
        _print_difference(difference)
    made = f"{report.readings} readings were derived again"
    if not report.differences:
        say(f"{made}: every table came out the same" + ("" if verify else "; nothing changed"))
    elif not verify:
        say(f"{made}; the tables above are what the evidence says now")


def _print_difference(difference: Difference) -> None:
    say(
        f"{difference.table}: {difference.only_before} rows are only in the ledger, {difference.only_after} only in "
        "the rebuilt one"
    )
    for key, was, now in _pairs(difference.examples):
        name = ", ".join(f"{column} {show(value)}" for column, value in key.items())
        if was is None or now is None:
            say(f"  {name}: only in the {'rebuilt one' if was is None else 'ledger'}")
            continue
        for column in was:
            if was[column] != now.get(column):
                say(f"  {name}: {column} {show(was[column])} → {show(now.get(column))}")


def _pairs(
    examples: Sequence[Mapping[str, Any]],
) -> list[tuple[dict[str, Any], Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Return the rows of both sides by what tells them apart: (key, in the ledger, in the rebuilt one)."""
    sides: dict[str, dict[str, Mapping[str, Any]]] = {}
    keys: dict[str, dict[str, Any]] = {}
    for example in examples:
        key = {column: example[column] for column in _KEYS if column in example}
        keys[repr(key)] = key
        sides.setdefault(repr(key), {})[example["in"]] = {k: v for k, v in example.items() if k != "in"}
    return [(keys[name], side.get("ledger"), side.get("rebuilt")) for name, side in sides.items()]


def _document(report: Report, *, verify: bool) -> dict[str, Any]:
    return {
        "verify": verify,
        "same": not report.differences,
        "readings": report.readings,
        "digests": report.digests,
        "older_parser": report.stale,
        "not_up_to_date": report.behind,
        "differences": [
            {
                "table": each.table,
                "only_in_ledger": each.only_before,
                "only_rebuilt": each.only_after,
                "examples": list(each.examples),
            }
            for each in report.differences
        ],
    }
