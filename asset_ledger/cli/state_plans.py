"""`asset-ledger state plans`: the plans that are kept with a state, and what came of what they predicted."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.opening import connected
from asset_ledger.cli.screen import clean, note, print_json, print_table, say, short
from asset_ledger.cli.state_named import State, state_named
from asset_ledger.cli.state_plan import told
from asset_ledger.cli.tenant_named import Tenant, chosen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asset_ledger.store.iac.plans import PlanEventRow, PlanRow
    from asset_ledger.store.iac.resources import ToldEvent

_MOST = 10_000
_WORDS = {"as_predicted": "as predicted", "otherwise": "OTHERWISE", "not_done": "NOT DONE"}


def plans(
    state: State,
    plan: Annotated[
        str | None, typer.Argument(metavar="[PLAN]", help="A plan's id or how it begins: what came of it.")
    ] = None,
    tenant: Tenant = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many plans, the newest.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the plans that are kept with a state, the newest first; or say of one what came of its predictions."""
    from asset_ledger.store.iac import plans as kept
    from asset_ledger.store.tenancy import as_tenant

    with connected() as connection:
        row = chosen(connection, tenant)
        with as_tenant(connection, row.id):
            state_id = state_named(connection, row.id, state).state_id
            if plan is None:
                _list(kept.plans(connection, row.id, state_id, limit), state, as_json=as_json)
                return
            one = _one(kept.plans(connection, row.id, state_id, _MOST), plan)
            events = kept.plan_events(connection, row.id, one.id, above=0, limit=_MOST + 1)
            others = kept.unpredicted(connection, row.id, one.id, _MOST + 1)
    more = max(len(events), len(others)) > _MOST
    events, others = events[:_MOST], others[:_MOST]
    if as_json:
        found = {"events": [asdict(each) for each in events], "unpredicted": [asdict(each) for each in others]}
        print_json(asdict(one) | found | {"more": more})
        return
    _show(one, events, others)
    if more:
        beyond = "?above=…&above_version=…&above_sequence=…"
        note(f"the first {_MOST} of each; the HTTP service has them all: GET /api/v1/plans/{one.id}{beyond}")


def _list(found: Sequence[PlanRow], state: str, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(each) for each in found])
    elif not found:
        keep = f"terraform show -json PLAN | asset-ledger state plan - --upload {state}"
        note(f"No plan is kept with {state}. Keep one: `{keep}`")
    else:
        columns = [
            "plan!",
            "sent!",
            "by",
            "over>",
            "predicts>",
            "drift>",
            "followed by>",
            "as predicted>",
            "otherwise>",
        ]
        print_table(
            [*columns, "not done>", "read"],
            [
                [
                    short(p.id),
                    p.created_at,
                    p.actor,
                    p.base_version,
                    p.predicted,
                    p.drift,
                    p.followed_by,
                    *((p.as_predicted, p.otherwise, p.not_done) if p.followed_by else (None, None, None)),
                    p.parse_error or p.parsed_at is not None,
                ]
                for p in found
            ],
        )


def _show(one: PlanRow, events: Sequence[PlanEventRow], others: Sequence[ToldEvent]) -> None:
    say(f"plan {one.id}, sent {one.created_at:%Y-%m-%d %H:%M} UTC by {one.actor}, made over version {one.base_version}")
    if one.parsed_at is None:
        note("it was not read yet: `asset-ledger state parse`")
    if one.parse_error is not None:
        note(one.parse_error)
    if one.errored:
        note("the plan ended in an error: nothing can be applied of it")
    if one.followed_by is None:
        note("no run followed it")
    else:
        say(f"followed by run {clean(one.followed_run or '')}, up to version {one.followed_by}")
        if one.run_is_open:
            note("the run has its lock still: what is not done may come yet")
    for event in events:
        outcome = f"{_WORDS[event.outcome]}: " if event.outcome else ""
        by = f" (version {event.event_version})" if event.event_version else ""
        first, *rest = told(event, event.addr)
        say(f"  {outcome}{first}{by}")
        for line in rest:
            say(f"  {line}")
    for other in others:
        say(f"  NOT PREDICTED: {other.action} {clean(other.addr)} (version {other.version})")


def _one(found: Sequence[PlanRow], text: str) -> PlanRow:
    from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

    fitting = [each for each in found if str(each.id).startswith(text.lower())]
    if len(fitting) != 1:
        why = "several plans of this state begin so" if fitting else "no plan of this state begins so"
        raise PermanentError(CONFIG_INVALID, f"{why}; see `asset-ledger state plans`", target=text)
    return fitting[0]
