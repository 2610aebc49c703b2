"""A kept reading as its collector's answer, `collector-response-v1`: what was read, not what the ledger made of it.

Parsed anew from kept raw, so that it also shows what today's parser would say of an old reading. Called by the command
line.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from asset_ledger.domain.errors import CONFIG_INVALID, RAW_MISSING, LedgerError, PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, InstanceRecord, Item, Proof, RejectedRow, TargetFailure
from asset_ledger.pipeline.ledger import platform_of
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.sources.registry import error_codes
from asset_ledger.store.database import Connection
from asset_ledger.store.query.runs import reading_proof
from asset_ledger.store.raw import InventoryRow, latest_reading, observations
from asset_ledger.store.sources import SourceRow

SCHEMA_NAME = "collector-response-v1"


def collector_response(
    connection: Connection, source: SourceConfig, row: SourceRow, day: date | None = None, *, scope: str | None = None
) -> dict[str, Any]:
    """Return the newest reading of a source, of one of its days or scopes, as JSON-like data.

    Keys: schema_version, source, platform, platform_type, scope, collected_date, collected_at, run_id, status;
    `assets` (external_kind, external_id, locator, normalized), `instances`, `relations` (type, from, to), `failures`
    (what could not be read, with code and retryable), `warnings`, `errors` (why the reading is no inventory), `stats`
    (counts, and inventory_complete), `proofs` and `raw` (what is kept of it). Raises PermanentError(RAW_MISSING).
    """
    scopes = platform_of(source).scopes
    if scope is not None and scope not in scopes:
        raise PermanentError(CONFIG_INVALID, f"it has no scope {scope}, only {', '.join(scopes)}", target=source.name)
    inventory = latest_reading(connection, row, day, scope=scope)
    if inventory is None:
        what = f" of scope {scope}" if scope else ""
        when = f"for {day}" if day else "yet"
        raise PermanentError(RAW_MISSING, f"nothing{what} was read {when}", target=source.name)
    told = _told(connection, source, inventory)
    return {
        "schema_version": SCHEMA_NAME,
        "source": source.name,
        "platform": source.platform,
        "platform_type": row.platform_type,
        "scope": inventory.scope,
        "collected_date": inventory.collected_date,
        "collected_at": inventory.collected_at,
        "run_id": inventory.run_id,
        "status": inventory.status,
        **told,
        "stats": {
            "inventory_complete": inventory.complete and not told["errors"],
            **{name: len(found) for name, found in told.items() if name != "proofs"},
        },
    }


def _told(connection: Connection, source: SourceConfig, inventory: InventoryRow) -> dict[str, list[dict[str, Any]]]:
    kinds = ("assets", "instances", "relations", "failures", "warnings", "errors", "proofs", "raw")
    told: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    if inventory.error_code:
        against = reading_proof(connection, inventory.id).get("missing")
        code = next((code for code in error_codes() if code.code == inventory.error_code), None)
        told["errors"].append(
            {
                "code": inventory.error_code,
                "retryable": code is not None and code.retryable,
                "message": "; ".join(against)
                if against
                else code.meaning
                if code
                else "deriving it failed; the run's page says why",
            }
        )
    for observation_id, raw in observations(connection, inventory):
        told["raw"].append(
            {
                "observation": observation_id,
                "target": raw.target,
                "media_type": raw.media_type,
                "bytes": len(raw.body),
                "sha256": raw.sha256.hex(),
                "redacted": raw.redacted,
            }
        )
        try:
            for item in platform_of(source).parse(raw, {}):
                _tell(told, item)
        except LedgerError as error:
            told["errors"].append(
                {"code": error.code.code, "retryable": error.code.retryable, "message": error.message}
            )
    return told


def _tell(told: dict[str, list[dict[str, Any]]], item: Item) -> None:
    match item:
        case AssetRecord():
            end = {"external_kind": item.external_kind, "external_id": item.external_id}
            told["assets"].append({**end, "locator": item.locator, "normalized": item.document})
            told["relations"] += [
                {
                    "type": relation["kind"],
                    "from": end,
                    "to": {name: relation[name] for name in ("external_kind", "external_id")},
                }
                for relation in item.document.get("relations", ())
            ]
        case InstanceRecord():
            told["instances"].append(
                {
                    "instance_key": item.instance_key,
                    "name": item.name,
                    "host": item.host,
                    "port": item.port,
                    "db_type": item.db_type,
                    "custom_fields": dict(item.custom_fields),
                }
            )
        case TargetFailure():
            told["failures"].append(
                {
                    "external_kind": item.external_kind,
                    "external_id": item.external_id,
                    "code": item.code.code,
                    "retryable": item.code.retryable,
                    "message": item.message,
                }
            )
        case Caution():
            told["warnings"].append({"code": item.code.code, "message": item.message, "locator": item.locator})
        case RejectedRow():
            told["failures"] += [
                {
                    "row": cell.row,
                    "column": cell.column,
                    "code": cell.code.code,
                    "retryable": cell.code.retryable,
                    "message": cell.reason,
                }
                for cell in item.cells
            ]
        case Proof():
            told["proofs"].append({"counts": dict(item.counts), "missing": list(item.missing)})
