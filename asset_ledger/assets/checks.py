"""What is checked of a chain: the texts of the checks, and what they say of a run. All of them only report.

What may not be written is refused before it is written, so a check never protects the ledger: it shows, in the UI and
to alerts, that the last run left something for a person. Every text ends with the next step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from asset_ledger.assets.nodes import key
from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, INVENTORY_RELATIONS_EMPTY, IncompleteError, LedgerError
from asset_ledger.pipeline.chains import Chain

FOLLOWS = "follows"
"""The metadata of a check that failed by something that is told elsewhere: what that is (`domain.notices`)."""
NEXT_STEP = "next_step"
"""The metadata of a check that failed: the end of its text, what to do. Notices have little room for what is wrong, and
must not cut this off."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the ledger says of a chain after a run: readings whose absences wait for a person, and its relations."""

    held: Sequence[Mapping[str, Any]] = ()
    relations: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class _Check:
    """A check: on which node, and what holds when it passes."""

    name: str
    node: str
    holds: str


@dataclass(frozen=True, slots=True)
class _Counted(_Check):
    """A check that a count of the run is zero, and where to look when it is not."""

    counted: str
    look: str


_EVERY_ROW = _Counted(
    "every_row_taken",
    "normalized_assets",
    "No row of a dropped file was rejected.",
    "rejected_rows",
    "The good rows are in the ledger. The report beside the archived file names row, column and reason of the others.",
)
_EVERY_TARGET = _Counted(
    "every_target_read",
    "normalized_assets",
    "Every machine that was to be read answered; one that did not has a day of NULLs with a reason.",
    "failed_targets",
    "The table `failed` of this asset's metadata says which and why, and what to do.",
)
_NO_CONFLICT = _Counted(
    "no_identity_conflicts",
    "ledger_assets",
    "No management address belongs to several ledger assets.",
    "conflicts",
    "Nothing was written for them. Give each of the ledger assets its own management address.",
)
_COMPLETE = _Check(
    "inventory_complete",
    "raw_inventory",
    "The reading is the whole of its scope, and its proof holds; only then what it does not see counts as missing.",
)
_WITHIN_THRESHOLD = _Check(
    "absences_within_threshold",
    "ledger_assets",
    "No reading made so many machines missing at once that a person has to decide whether they are.",
)
_RELATIONS = _Check(
    "relations_present",
    "ledger_assets",
    "Virtual machines run on hosts that the ledger knows.",
)


def check_specs(chain: Chain) -> list[dg.AssetCheckSpec]:
    """Return the chain's checks."""
    return [
        dg.AssetCheckSpec(name=check.name, asset=key(chain, check.node), description=check.holds)
        for check in _checks(chain)
    ]


def check_results(
    chain: Chain, counts: Mapping[str, int], proofs: Sequence[Mapping[str, Any]], found: Findings
) -> Iterator[dg.AssetCheckResult]:
    """Yield what the checks say after a run. `proofs` are of its readings: complete, counts, what stands against it."""
    for check in _checks(chain):
        if isinstance(check, _Counted):
            bad = counts.get(check.counted, 0)
            told = f"{check.counted.replace('_', ' ')}: {bad}." if bad else check.holds
            yield _result(chain, check, not bad, told, {check.counted: bad}, check.look if bad else "")
        elif check is _COMPLETE:
            yield _completeness(chain, proofs)
        elif check is _WITHIN_THRESHOLD:
            yield _threshold(chain, found.held)
        else:
            yield _relations(chain, found.relations or {})


def refused_checks(chain: Chain, error: LedgerError) -> Iterator[dg.AssetCheckResult]:
    """Yield the check that a refused reading failed: the run fails too, and says the same."""
    incomplete = isinstance(error, IncompleteError)
    for check, failed in ((_COMPLETE, incomplete), (_RELATIONS, error.code is INVENTORY_RELATIONS_EMPTY)):
        if failed and check in _checks(chain):
            told = f"{error.message}. Nothing was derived from it."
            proof = dict(error.proof) if isinstance(error, IncompleteError) else {}
            metadata = {"proof": dg.MetadataValue.json(proof), FOLLOWS: "reading"}
            yield _result(chain, check, False, told, metadata, f"{error.code.advice}.")


def _completeness(chain: Chain, proofs: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    whole = [proof for proof in proofs if proof["complete"]]
    against = [str(reason) for proof in proofs if not proof["complete"] for reason in proof["missing"]]
    metadata = {"readings": len(proofs), "complete": len(whole), "missing": "; ".join(against) or "nothing"}
    if chain.platform.contract == "push":
        told = (
            f"{len(whole)} of {len(proofs)} files list every machine of {chain.source.name}, as whoever imported them "
            "says."
            if whole
            else "No file claims to list every machine, so nothing is missing by what they leave out."
        )
        return _result(chain, _COMPLETE, True, told, metadata)
    if len(whole) == len(proofs):
        return _result(chain, _COMPLETE, True, _COMPLETE.holds, metadata)
    told = f"{len(proofs) - len(whole)} of {len(proofs)} readings are not proven whole: {metadata['missing']}."
    return _result(chain, _COMPLETE, False, told, metadata, f"{INVENTORY_INCOMPLETE.advice}.")


def _threshold(chain: Chain, held: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    # readings of one scope wait for the same machines, the newest for all of them
    by_scope: dict[str, int] = {}
    for reading in held:
        by_scope[reading["scope"]] = max(reading["waiting"], by_scope.get(reading["scope"], 0))
    unseen = sum(by_scope.values())
    metadata = {"readings_held": len(held), "machines_unseen": unseen}
    if not held:
        return _result(chain, _WITHIN_THRESHOLD, True, _WITHIN_THRESHOLD.holds, metadata)
    ids = " ".join(str(reading["id"]) for reading in held)
    told = f"{unseen} machines were not seen, too many at once: none of them counts as missing until a person decides."
    step = (
        f"See them: `asset-ledger absences show {held[0]['id']}`. Decide: `asset-ledger absences approve {ids}` or "
        "`reject`, or the job `ledger_absences`."
    )
    return _result(chain, _WITHIN_THRESHOLD, False, told, metadata, step)


def _relations(chain: Chain, counts: Mapping[str, int]) -> dg.AssetCheckResult:
    alone, machines = counts.get("vms_without_host", 0), counts.get("vms", 0)
    metadata = {"vms": machines, "vms_without_host": alone}
    if not alone:
        return _result(chain, _RELATIONS, True, _RELATIONS.holds, metadata)
    told = f"{alone} of {machines} virtual machines run on nothing the ledger knows."
    step = f"Read the hosts of {chain.source.name} too, and check the account's rights on hosts and clusters."
    return _result(chain, _RELATIONS, False, told, metadata, step)


def _result(
    chain: Chain, check: _Check, passed: bool, told: str, metadata: Mapping[str, Any], step: str = ""
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key(chain, check.node),
        check_name=check.name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{told} {step}".rstrip(),
        metadata={**metadata, NEXT_STEP: step},
    )


def _checks(chain: Chain) -> tuple[_Check, ...]:
    platform = chain.platform
    of_files = platform.contract == "push" and not platform.by_machine
    checks: tuple[_Check, ...] = (_EVERY_ROW if of_files else _EVERY_TARGET, _NO_CONFLICT)
    # a file may be said to list every machine; a machine's own word never speaks of another
    if platform.complete_by_nature or of_files:
        checks += (_COMPLETE, _WITHIN_THRESHOLD)
    if chain.has_machines_on_hosts:
        checks += (_RELATIONS,)
    return checks
