"""Jobs by which people decide in the launchpad what they may also decide on the command line. One job a decision.

Each op finds what is meant, calls the store, and says what happened. Who decides is `actor` in the configuration, or
the run's tag of that name: a decision without a name is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from asset_ledger.assets.policies import failure
from asset_ledger.domain.errors import DECISION_INVALID, LedgerError, PermanentError
from asset_ledger.resources.ledger import LedgerResource
from asset_ledger.store.database import Connection
from asset_ledger.store.decide import decisions
from asset_ledger.store.decide.link_decisions import clear_link, confirm_link, reject_link
from asset_ledger.store.decide.merges import find_merged, find_to_merge, find_to_merge_into, merge, unmerge
from asset_ledger.store.decide.tags import add_tags, remove_tags
from asset_ledger.store.derive.absences import decide_absences
from asset_ledger.store.derive.follow import follow
from asset_ledger.store.query.assets import find_asset
from asset_ledger.store.query.instances import find_instance

ACTOR_TAG = "actor"
_MACHINE = "id or its first six characters, hostname, alias or address"


class _Deciding(dg.Config):
    """What every decision has."""

    actor: str = Field(default="", description="Who decides. Empty: the run's tag `actor`.")
    note: str = Field(default="", description="Why; kept with the decision.")


class Merging(_Deciding):
    """Two ledger assets that are one machine."""

    child: str = Field(default="", description=f"The asset that is merged: {_MACHINE}.")
    into: str = Field(default="", description=f"The machine it is, which keeps its name: {_MACHINE}.")
    across_zones: bool = Field(default=False, description="Merge although the two are of two zones.")


class Unmerging(_Deciding):
    """A merge to take back."""

    child: str = Field(
        default="", description="The asset that was merged: id, its first six characters, name, address."
    )


class Dismissing(_Deciding):
    """Two ledger assets that are two machines, whatever they have in common."""

    one: str = Field(default="", description=f"One of the two: {_MACHINE}.")
    other: str = Field(default="", description=f"The other: {_MACHINE}.")
    withdraw: bool = Field(default=False, description="Take the dismissal back instead.")


class Overriding(_Deciding):
    """A field of a machine whose value a person decides."""

    asset: str = Field(default="", description=f"The machine: {_MACHINE}.")
    field: str = Field(
        default="hostname", description="hostname, asset_type, os_family, os_version or custom_fields.NAME."
    )
    value: str = Field(default="", description="The value that wins over every source from now on.")
    clear: bool = Field(default=False, description="Give the field back to the sources instead.")


class Retiring(_Deciding):
    """A machine that is no more."""

    asset: str = Field(default="", description=f"The machine: {_MACHINE}.")
    restore: bool = Field(default=False, description="Bring a retired machine back instead.")


class Tagging(_Deciding):
    """Tags that a person puts on a machine or takes off it."""

    asset: str = Field(default="", description=f"The machine: {_MACHINE}.")
    add: list[str] = Field(default=[], description="Tags to put on it. One that was removed is there again.")
    remove: list[str] = Field(default=[], description="Tags to take off it. No later reading brings them back.")


class LinkWord(Enum):
    """What is said of a link."""

    confirm = "confirm"
    reject = "reject"
    clear = "clear"


class Linking(_Deciding):
    """A database instance and the machine it runs on, or does not."""

    instance: str = Field(default="", description="The instance: name, host:port, host or id.")
    asset: str = Field(default="", description=f"The machine: {_MACHINE}.")
    decision: LinkWord = Field(
        default=LinkWord.confirm,
        description="confirm: it runs there. reject: it does not. clear: leave it to the rules again.",
    )
    across_zones: bool = Field(default=False, description="Confirm although the two are of two zones.")


class AbsenceWord(Enum):
    """What is said of held absences."""

    approve = "approve"
    reject = "reject"


class Absences(_Deciding):
    """A reading in which too many machines were not seen at once."""

    inventory: int = Field(default=0, description="The reading's number, as `asset-ledger absences list` shows it.")
    decision: AbsenceWord = Field(
        default=AbsenceWord.reject,
        description="approve: what it did not see is missing. reject: the reading was wrong, nothing is.",
    )


@dg.op(out=dg.Out(dg.Nothing))
def merge_assets(context: dg.OpExecutionContext, config: Merging, ledger: LedgerResource) -> None:
    with _deciding(context, config, ledger) as (connection, by):
        child = find_to_merge(connection, _named("child", config.child))
        into = find_to_merge_into(connection, _named("into", config.into))
        done = merge(connection, child, into, across_zones=config.across_zones, **by)
        _say(
            context, f"{done.child} is merged into {done.root}; the job ledger_unmerge undoes it", moved=len(done.moved)
        )


@dg.op(out=dg.Out(dg.Nothing))
def unmerge_asset(context: dg.OpExecutionContext, config: Unmerging, ledger: LedgerResource) -> None:
    with _deciding(context, config, ledger) as (connection, by):
        done = unmerge(connection, find_merged(connection, _named("child", config.child)), **by)
        _say(context, f"{done.child} is a machine of its own again; it was merged into {done.into}")


@dg.op(out=dg.Out(dg.Nothing))
def dismiss_duplicate(context: dg.OpExecutionContext, config: Dismissing, ledger: LedgerResource) -> None:
    with _deciding(context, config, ledger) as (connection, by):
        one = find_asset(connection, _named("one", config.one))
        other = find_asset(connection, _named("other", config.other))
        made = decisions.not_duplicate(connection, one, other, dismissed=not config.withdraw, **by)
        if config.withdraw:
            told = f"{one} and {other} may be one machine again" if made else "nobody had dismissed the two"
        else:
            told = f"{one} and {other} are two machines; `withdraw` undoes it"
        _say(context, told, decisions=len(made))


@dg.op(out=dg.Out(dg.Nothing))
def override_field(context: dg.OpExecutionContext, config: Overriding, ledger: LedgerResource) -> None:
    with _deciding(context, config, ledger) as (connection, by):
        asset = find_asset(connection, _named("asset", config.asset))
        if config.clear:
            if config.value:
                raise _invalid("value", "it is given, and `clear` too: fill in one of the two")
            cleared = decisions.clear_override(connection, asset, config.field, **by)
            _say(context, f"{asset}: {config.field} is what its sources say" + ("" if cleared else ", as before"))
            return
        made = decisions.override(connection, asset, config.field, _named("value", config.value), **by)
        _say(context, f"{asset}: {config.field} is {made.value}, by {made.actor}; `clear` undoes it")


@dg.op(out=dg.Out(dg.Nothing))
def retire_asset(context: dg.OpExecutionContext, config: Retiring, ledger: LedgerResource) -> None:
    with _deciding(context, config, ledger) as (connection, by):
        asset = find_asset(connection, _named("asset", config.asset), retired_first=config.restore)
        decide = decisions.restore if config.restore else decisions.retire
        changed = decide(connection, asset, **by)
        if config.restore:
            _say(context, f"{asset} is back in the lists" if changed else f"{asset} was not retired")
        else:
            _say(context, f"{asset} is retired, with its history kept; `restore` undoes it")


@dg.op(out=dg.Out(dg.Nothing))
def tag_asset(context: dg.OpExecutionContext, config: Tagging, ledger: LedgerResource) -> None:
    with _deciding(context, config, ledger) as (connection, by):
        asset = find_asset(connection, _named("asset", config.asset))
        if not config.add and not config.remove:
            raise _invalid("add", "no tag is named; fill in `add` or `remove`")
        if both := sorted(set(config.add) & set(config.remove)):
            raise _invalid("remove", f"it is to be added too: {', '.join(both)}")
        added = add_tags(connection, asset, config.add, **by)
        removed = remove_tags(connection, asset, config.remove, **by)
        parts = [f"added {', '.join(added)}"] if added else []
        parts += [f"removed {', '.join(removed)}"] if removed else []
        told = "; ".join(parts) or "its tags are like that already; nothing changed"
        _say(context, f"{asset}: {told}", added=len(added), removed=len(removed))


@dg.op(out=dg.Out(dg.Nothing))
def decide_link(context: dg.OpExecutionContext, config: Linking, ledger: LedgerResource) -> None:
    with _deciding(context, config, ledger) as (connection, by):
        instance = find_instance(connection, _named("instance", config.instance))
        asset = find_asset(connection, _named("asset", config.asset))
        if config.decision is LinkWord.clear:
            was = clear_link(connection, instance, asset, **by)
            _say(context, f"what was said of it is taken back: {was}" if was else "nothing had been said of it")
            return
        if config.decision is LinkWord.confirm:
            new = confirm_link(connection, instance, asset, across_zones=config.across_zones, **by)
        else:
            new = reject_link(connection, instance, asset, **by)
        told = f"{instance} on {asset}: {config.decision.value}ed"
        _say(context, f"{told}; `clear` undoes it" if new else f"{told} already; nothing changed")


@dg.op(out=dg.Out(dg.Nothing))
def decide_on_absences(context: dg.OpExecutionContext, config: Absences, ledger: LedgerResource) -> None:
    with _deciding(context, config, ledger) as (connection, by):
        if config.inventory < 1:
            raise _invalid("inventory", "it is empty; `asset-ledger absences list` shows the readings that wait")
        approve = config.decision is AbsenceWord.approve
        done = decide_absences(connection, config.inventory, "approved" if approve else "rejected", **by)
        told = f"reading {config.inventory} {'approved' if approve else 'rejected'}"
        undo = "reject" if approve else "approve"
        _say(
            context,
            f"{told}: {done.missing} missing, {done.revived} no longer missing; `{undo}` undoes it"
            if done.new
            else f"{told} already; nothing changed",
            missing=done.missing,
            revived=done.revived,
        )


_JOBS: dict[str, tuple[dg.OpDefinition, str]] = {
    "ledger_merge": (merge_assets, "Declare two ledger assets to be one machine. No history moves; it can be undone."),
    "ledger_unmerge": (unmerge_asset, "Part an asset from the one it was merged into, exactly as it was."),
    "ledger_dismiss_duplicate": (dismiss_duplicate, "Say that two look-alikes are two machines; it holds for good."),
    "ledger_override": (override_field, "Decide a field of a machine, over what its sources say; or give it back."),
    "ledger_retire": (retire_asset, "Take a machine out of the lists with its history kept; or bring it back."),
    "ledger_tag": (tag_asset, "Put tags on a machine, or take them off; what a person says outlives every reading."),
    "ledger_link": (decide_link, "Say on which machine a database instance runs, or does not."),
    "ledger_absences": (decide_on_absences, "Decide whether what a held reading did not see is missing."),
}


def build_decision_jobs() -> list[dg.JobDefinition]:
    """Return the jobs by which people decide."""
    return [_job(name, op, description) for name, (op, description) in _JOBS.items()]


def _job(name: str, op: dg.OpDefinition, description: str) -> dg.JobDefinition:
    @dg.job(name=name, description=description, tags={"mode": "decide"})
    def job() -> None:
        op()

    return job


@contextmanager
def _deciding(
    context: dg.OpExecutionContext, config: _Deciding, ledger: LedgerResource
) -> Iterator[tuple[Connection, dict[str, Any]]]:
    """Open a transaction, and say who decides, when and why; links and candidates then follow what was decided.

    Errors of the ledger end the run at once, with advice, and leave nothing behind.
    """
    try:
        who = config.actor.strip() or context.run.tags.get(ACTOR_TAG, "").strip()
        if not who:
            raise _invalid("actor", "nobody is named; fill in `actor`, or give the run a tag `actor`")
        with ledger.open().connect() as connection, connection.transaction():
            yield connection, {"actor": who, "at": datetime.now(UTC), "note": config.note.strip() or None}
            follow(connection)
    except LedgerError as error:
        raise failure(error) from error


def _named(field: str, value: str) -> str:
    if not value.strip():
        raise _invalid(field, "it is empty; fill it in in the run's configuration")
    return value.strip()


def _invalid(field: str, problem: str) -> PermanentError:
    return PermanentError(DECISION_INVALID, problem, target=f"`{field}`")


def _say(context: dg.OpExecutionContext, told: str, **counts: int) -> None:
    context.log.info(told)
    context.add_output_metadata({"done": told, **counts})
