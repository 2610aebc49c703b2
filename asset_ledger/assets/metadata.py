"""What a materialization tells: the same numeric keys every day, so that the UI plots them, and short tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from asset_ledger.assets.corrections import SHOWN_ROWS, corrected, correction_table
from asset_ledger.assets.pictures import FEW_TARGETS, and_more, changes_diff, days_picture, targets_table
from asset_ledger.domain.outcome import Correction
from asset_ledger.pipeline.days import totals
from asset_ledger.pipeline.derive import Derived
from asset_ledger.pipeline.intake import TakenFile
from asset_ledger.store.query.chain_days import ChainDay


def chain_metadata(
    node: str,
    derived: Sequence[Derived],
    *,
    source: str,
    day: date,
    run_id: str,
    mode: str,
    duration_s: float,
    failed: Sequence[Mapping[str, Any]],
    corrections: Sequence[Correction] = (),
    proofs: Sequence[Mapping[str, Any]] = (),
    hosts: Sequence[Mapping[str, Any]] = (),
    lately: Mapping[date, ChainDay] | None = None,
    files: Sequence[TakenFile] = (),
    inbox: Path | None = None,
) -> dict[str, Any]:
    """Return the metadata of one node of a source's chain for one day. Paths in `inbox` are shown from there on."""
    counts = totals(derived)
    mine: dict[str, Any]
    common: dict[str, Any] = {"mode": mode, "duration_s": round(duration_s, 3)}
    match node:
        case "raw_inventory":
            mine = _raw(derived, proofs, files, inbox)
        case "normalized_assets":
            # the picture first: tables are long
            mine = {} if lately is None else {"last_days": days_picture(day, lately)}
            mine |= _normalized(derived, counts, inbox, run_id) | targets_table(failed, run_id)
        case "ledger_assets":
            columns = (
                "created",
                "attached",
                "updated",
                "unchanged",
                "conflicts",
                "reused_ids",
                "missing",
                "revived",
                "absences_held",
            )
            mine = {"dagster/row_count": counts.get("records", 0) - counts.get("conflicts", 0)}
            mine |= {key: counts.get(key, 0) for key in columns}
            if hosts:
                mine["hosts_known_from"] = _table([_hosts_known(each) for each in hosts])
            changes = [change for one in derived for change in one.outcome.changes]
            diff = changes_diff(changes, counts, source, day)
            if diff is not None:
                mine["changes"] = diff
        case "daily_specs":
            mine = {"dagster/row_count": counts.get("specs_rows", 0), "failed_targets": counts.get("failed_targets", 0)}
            mine |= corrected(corrections)
            if corrections:
                mine["corrections"] = dg.MetadataValue.md(correction_table(corrections))
        case "daily_ips":
            mine = {"dagster/row_count": counts.get("ip_rows", 0)}
        case "database_instances":
            kinds = ("instances_new", "instances_changed", "instances_unchanged")
            mine = {
                "dagster/row_count": sum(counts.get(kind, 0) for kind in kinds),
                **{kind: counts.get(kind, 0) for kind in kinds},
            }
        case _:
            raise ValueError(f"no metadata is defined for the node {node!r}")
    return mine | common


def _raw(
    derived: Sequence[Derived], proofs: Sequence[Mapping[str, Any]], files: Sequence[TakenFile], inbox: Path | None
) -> dict[str, Any]:
    mine: dict[str, Any] = {
        "dagster/row_count": len(derived),
        "readings": len(derived),
        "complete": bool(proofs) and all(proof["complete"] for proof in proofs),
        "collected_at": ", ".join(one.inventory.collected_at.isoformat(timespec="seconds") for one in derived[:10]),
    }
    if any(proof["complete"] or proof["missing"] for proof in proofs):
        mine["proof"] = dg.MetadataValue.json(
            [{name: proof[name] for name in ("scope", "complete", "counts", "missing")} for proof in proofs]
        )
    if files:
        mine["files"] = _table([{"file": f.name, "state": f.state, "note": _short(f.note, inbox)} for f in files])
    return mine


def _normalized(
    derived: Sequence[Derived], counts: Mapping[str, int], inbox: Path | None, run_id: str
) -> dict[str, Any]:
    keys = ("records", "rejected_rows", "rejected_cells", "failed_targets", "warnings")
    mine: dict[str, Any] = {"dagster/row_count": counts.get("records", 0), **{key: counts.get(key, 0) for key in keys}}
    rejected = [cell for one in derived for row in one.outcome.rejected for cell in row.cells]
    if rejected:
        mine["rejected"] = _table(
            [
                {
                    "row": c.row,
                    "column": c.column or "",
                    "value": c.value or "",
                    "reason": c.reason,
                    "code": c.code.code,
                }
                for c in rejected[:FEW_TARGETS]
            ]
        )
        mine |= and_more("rejected", len(rejected), run_id)
        mine["reports"] = ", ".join(_short(str(path), inbox) for one in derived for path in one.reports)
    cautions = [caution for one in derived for caution in one.outcome.cautions]
    if cautions:
        mine["cautions"] = _table([{"code": c.code.code, "message": c.message} for c in cautions[:SHOWN_ROWS]])
    return mine


def _hosts_known(each: Mapping[str, Any]) -> dict[str, str | int]:
    """Return a line that says which run told of the hosts that machines of the day run on."""
    at = each["collected_at"]
    return {
        "hosts": each["hosts"],
        "machines_on_them": each["vms"],
        "told_by_run": (each["run_id"] or "") if at else "none yet: shown as soon as one tells of them",
        "scope": each["scope"] or "",
        "read_at": f"{at:%Y-%m-%d %H:%M} UTC" if at else "",
    }


def _short(text: str, inbox: Path | None) -> str:
    return text if inbox is None else text.replace(f"{inbox.parent}/", "")


def _table(records: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(dict(record)) for record in records])
