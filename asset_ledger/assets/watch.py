"""What is checked by the clock, whether or not anything ran: freshness, the last reading, sizes, addresses, relations.

One step over all sources with one query for each family. A run that reads a source does the checks of its nodes at its
end; the job `ledger_watch` does all of them, on its schedule. All of them only report; every text ends with the next
step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from asset_ledger.assets.checks import FOLLOWS, NEXT_STEP
from asset_ledger.assets.ledger import DUPLICATE_CANDIDATES
from asset_ledger.assets.nodes import key
from asset_ledger.assets.policies import failure
from asset_ledger.domain.calendar import LEDGER_TIMEZONE, clock_of, collected_date
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.chains import ALL, Chain, chains
from asset_ledger.pipeline.watch import WATCH_JOB, Standing, standings
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.database import Connection
from asset_ledger.store.query.watch import orphan_relations, shared_addresses

FRESH = "day_fresh"
WHOLE = "last_reading_whole"
USUAL = "row_count_usual"
RELATIONS = "relations_end_somewhere"
ADDRESSES = "management_addresses_unique"

_HOLDS = {
    FRESH: "The day that is due by now, by the source's schedule or what sources.yaml says, is there: complete, and "
    "read on that day. An older day that is read or derived later does not count.",
    WHOLE: "The newest reading came to its end, and its proof holds where the platform's readings can be proven.",
    USUAL: "The newest day has about as many records as the days of its kind before it.",
    RELATIONS: "What machines run on and belong to is known, there, and another machine.",
    ADDRESSES: "No two machines that are there have one management address in one zone.",
}


def build_watch_checks(sources: Sequence[SourceConfig]) -> list[dg.AssetChecksDefinition]:
    """Return the checks of these sources, one definition."""
    every = [chain for source in sources for chain in chains(source)]

    @dg.multi_asset_check(name="watch", specs=_specs(every), can_subset=True)
    def watch(context: dg.AssetCheckExecutionContext, ledger: LedgerResource) -> Iterator[dg.AssetCheckResult]:
        asked = context.selected_asset_check_keys
        try:
            with ledger.open().connect() as connection:
                yield from (
                    result
                    for result in _results(connection, sources, {check.name for check in asked}, datetime.now(UTC))
                    if dg.AssetCheckKey(result.asset_key, result.check_name) in asked  # type: ignore[arg-type]
                )
        except LedgerError as error:
            raise failure(error) from error

    return [watch]


def build_watch_job(sources: Sequence[SourceConfig]) -> Any:
    """Return the job that does every check of these sources and reads nothing; its schedule starts it."""
    every = [chain for source in sources for chain in chains(source)]
    return dg.define_asset_job(
        WATCH_JOB,
        selection=dg.AssetSelection.checks(*(spec.key for spec in _specs(every))),
        description="Look whether every source is fresh and has its usual size, and whether addresses and relations of "
        "the ledger hold. Nothing is read or written.",
        tags={"mode": "watch"},
    )


def _specs(every: Sequence[Chain]) -> list[dg.AssetCheckSpec]:
    found = [
        dg.AssetCheckSpec(name, asset=key(chain, node), description=_HOLDS[name])
        for chain in every
        for name, node in _of_chain(chain)
    ]
    return [*found, dg.AssetCheckSpec(ADDRESSES, asset=DUPLICATE_CANDIDATES, description=_HOLDS[ADDRESSES])]


def _of_chain(chain: Chain) -> Iterator[tuple[str, str]]:
    """Yield the checks of a chain, each with the node it is of."""
    yield FRESH, "raw_inventory"
    yield WHOLE, "raw_inventory"
    # what is brought adds up day by day, to no whole that has a size
    if chain.platform.contract != "push":
        yield USUAL, "daily_specs"
    if chain.has_machines_on_hosts:
        yield RELATIONS, "ledger_assets"


def _results(
    connection: Connection, sources: Sequence[SourceConfig], names: set[str], now: datetime
) -> Iterator[dg.AssetCheckResult]:
    """Yield what every check of these names says at `now`. Each family costs one query, and none if it is not asked."""
    of_reading: dict[str, Callable[[Standing], dg.AssetCheckResult]] = {FRESH: _fresh, WHOLE: _whole, USUAL: _usual}
    found = standings(connection, sources, now=now) if names & of_reading.keys() else []
    for standing in found:
        yield from (of_reading[name](standing) for name, _ in _of_chain(standing.chain) if name in of_reading)
    if RELATIONS in names:
        counted = {row["source"]: row for row in orphan_relations(connection)}
        for chain in (chain for source in sources for chain in chains(source) if chain.has_machines_on_hosts):
            yield _relations(chain, counted.get(chain.source.name, {}))
    if ADDRESSES in names:
        yield _addresses(shared_addresses(connection))


def _fresh(standing: Standing) -> dg.AssetCheckResult:
    due, source = standing.due, standing.chain.source
    metadata: dict[str, Any] = {"due_day": "nothing is due" if due is None else due.day.isoformat()}
    metadata |= {"machines_awaited": 0 if standing.partly is None else standing.partly.machines, FOLLOWS: ""}
    # what is not known has no number: neither 0 nor yesterday's
    if standing.age_s is not None and standing.days:
        newest = standing.days[0].day.isoformat()
        metadata |= {"newest_day": newest, "age_s": standing.age_s, "days_behind": standing.days_behind}
    if due is None:
        told = (
            f"Nothing is expected of {source.name}: it is read when somebody brings something. `every: 7d` in "
            "sources.yaml says after how many days that is too long ago."
        )
        return _result(standing.chain, FRESH, True, told, metadata)
    if standing.fresh:
        return _result(standing.chain, FRESH, True, _HOLDS[FRESH], metadata)
    since = f"{collected_date(due.at)} {clock_of(due.at):%H:%M} in {LEDGER_TIMEZONE}"
    last = (
        f"The newest that counts is of {standing.days[0].day}" if standing.days else "There never was one that counts"
    )
    told = (
        f"{_named(standing.chain)} has no reading of {due.day} that counts, and it was due by {since}. {last}. "
        f"{_awaits(standing)}{_attempt(standing)}"
    )
    if not standing.whole or standing.partly is not None:
        metadata[FOLLOWS] = "reading"
    elif standing.unanswered:
        metadata[FOLLOWS] = "targets"
    return _result(standing.chain, FRESH, False, told, metadata, _next(standing.chain))


def _whole(standing: Standing) -> dg.AssetCheckResult:
    newest = standing.newest
    missing = newest.missing if newest is not None else ()
    metadata: dict[str, Any] = {
        "status": "none yet" if newest is None else newest.status,
        "complete": int(newest is not None and newest.complete),
        "against": len(missing),
        "missing": "; ".join(missing[:5]) or "nothing",
        "run_id": (newest.run_id if newest is not None else None) or "",
        FOLLOWS: "" if standing.whole else "reading",
    }
    if standing.whole:
        told = _HOLDS[WHOLE] if newest is not None else "It was never read, so nothing broke off."
        return _result(standing.chain, WHOLE, True, told, metadata)
    told = f"{_attempt(standing)} Nothing is missing by that, and what the day before said stands, with its age."
    return _result(standing.chain, WHOLE, False, told, metadata, _next(standing.chain))


def _usual(standing: Standing) -> dg.AssetCheckResult:
    of, days, source = standing.usual, standing.days, standing.chain.source
    metadata: dict[str, Any] = {FOLLOWS: standing.cliff_follows}
    if days:
        metadata |= {"day": days[0].day.isoformat(), "records": days[0].records}
    if of is None:
        told = f"Too few days of {_named(standing.chain)} are there to say what is usual."
        return _result(standing.chain, USUAL, True, told, metadata)
    metadata |= {"usual": of.records, "compared_days": of.days}
    if not standing.cliff:
        return _result(standing.chain, USUAL, True, _HOLDS[USUAL], metadata)
    day, records = days[0].day, days[0].records
    kind = {True: "weekend days", False: "working days", None: "days"}[of.weekend]
    less = records < of.records
    cause = (
        "Rights that were taken away, a part of the source that is away, or machines that are gone"
        if less
        else "A part that is read twice, another account's machines, or a purchase"
    )
    told = (
        f"{_named(standing.chain)} has {records} records on {day}, and {of.records:g} are usual (the median of the "
        f"last {of.days} {kind}). {cause}."
    )
    step = (
        f"Compare: `asset-ledger changes --source {source.name}`. Where it is right, it is usual after four such days; "
        "`cliff_share` of the source in sources.yaml says how much is too much."
    )
    return _result(standing.chain, USUAL, False, told, metadata, step)


def _relations(chain: Chain, counted: Mapping[str, Any]) -> dg.AssetCheckResult:
    whys = {
        "unknown": "the ledger does not know",
        "missing": "is missing",
        "retired": "a person retired",
        "on_itself": "is the machine itself, by a merge",
    }
    numbers = {why: int(counted.get(why, 0)) for why in whys}
    bad, name = sum(numbers.values()), chain.source.name
    metadata = {"relations": int(counted.get("relations", 0)), "orphans": bad, **numbers}
    if not bad:
        return _result(chain, RELATIONS, True, _HOLDS[RELATIONS], metadata)
    first = "; ".join(
        f"{one['machine']} {one['kind']} {one['ends_at']}, {whys[one['why']]}" for one in counted["examples"]
    )
    told = f"{bad} of {metadata['relations']} relations of {name} end nowhere: {first}."
    steps = []
    if numbers["retired"]:
        steps.append(
            "No reading brings back what a person retired: `asset-ledger assets restore NAME` (`asset-ledger assets "
            "list --retired` has the names), or move its machines."
        )
    if numbers["unknown"] or numbers["missing"]:
        steps.append(
            f"Read {name}, hosts before machines: `asset-ledger sources collect {name}`. If it stays, check the "
            "account's rights on hosts and clusters."
        )
    if numbers["on_itself"]:
        steps.append("Undo a wrong merge: `asset-ledger duplicates unmerge NAME`.")
    return _result(chain, RELATIONS, False, told, metadata, " ".join(steps))


def _addresses(counted: Mapping[str, Any]) -> dg.AssetCheckResult:
    metadata = {"addresses": int(counted["addresses"]), "machines": int(counted["machines"])}
    told, step = _HOLDS[ADDRESSES], ""
    if counted["addresses"]:
        first = "; ".join(
            f"{one['mgmt_ip']} in zone {one['zone']} is that of {', '.join(one['machines'][:4])}"
            for one in counted["shared"][:3]
        )
        told = (
            f"{counted['addresses']} management addresses belong to several machines: {first}. What a file, a probe or "
            "an agent says of such an address is written for none of them."
        )
        step = (
            "See them: `asset-ledger duplicates list`. Merge them or say that they are not one (`asset-ledger "
            "duplicates merge`, `dismiss`), or give each its own address; sites whose addresses overlap need a "
            "`zone` each in sources.yaml."
        )
    return dg.AssetCheckResult(
        asset_key=DUPLICATE_CANDIDATES,
        check_name=ADDRESSES,
        passed=not counted["addresses"],
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{told} {step}".rstrip(),
        metadata={**metadata, NEXT_STEP: step},
    )


def _awaits(standing: Standing) -> str:
    """Return a sentence about a day that is read in part, empty where there is none."""
    day = standing.partly
    if day is None:
        return ""
    of = f" (shards {', '.join(day.shards)})" if day.shards else ""
    return f"Of {day.day} {day.machines} machines have no outcome{of}: a run that was to read them did not end. "


def _attempt(standing: Standing) -> str:
    """Return a sentence about the newest attempt."""
    newest = standing.newest
    if newest is None:
        return "It was never read."
    at = f"{collected_date(newest.at)} {clock_of(newest.at):%H:%M} in {LEDGER_TIMEZONE}"
    by = f" (run {newest.run_id[:8]})" if newest.run_id else ""
    if newest.status == "derived":
        against = "; ".join(newest.missing[:3])
        return f"The newest reading{by} {f'of {at} is not whole: {against}' if against else f'is of {at}'}."
    what = {"raw": "is kept and was not derived", "interrupted": "broke off"}.get(newest.status, "failed")
    return f"The newest attempt, of {at}{by}, {what}{f': {newest.error_code}' if newest.error_code else ''}."


def _next(chain: Chain) -> str:
    name = chain.source.name
    if chain.platform.accept is not None:
        return f"Drop a file of the day into the inbox of {name}, or `asset-ledger import FILE --source {name}`."
    if chain.platform.open is None:
        return "See which agents are silent: `asset-ledger agents list`."
    mode = "" if chain.scope == ALL else f" --mode {chain.mode}"
    return (
        f"See why: `asset-ledger runs list --source {name} --failed`; try: `asset-ledger sources check {name}`. Then "
        f"read it: `asset-ledger sources collect {name}{mode}`. If nothing was tried, its schedule is off or the "
        "daemon is not running."
    )


def _named(chain: Chain) -> str:
    return chain.source.name if chain.scope == ALL else f"{chain.scope} of {chain.source.name}"


def _result(
    chain: Chain, name: str, passed: bool, told: str, metadata: Mapping[str, Any], step: str = ""
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key(chain, dict(_of_chain(chain))[name]),
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{told} {step}".rstrip(),
        metadata={**metadata, NEXT_STEP: step},
    )
