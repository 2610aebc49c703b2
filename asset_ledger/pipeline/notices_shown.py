"""What `asset-ledger notices preview` shows: the text as it is sent, where it stands, and what is not told and why;
and what `notices list` warns of.

Nothing is written and nothing sent. The text is made by what makes it when it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from asset_ledger.domain.errors import NOTICE_RUN_UNKNOWN, PermanentError
from asset_ledger.domain.notices.digest import Digest, digest_of
from asset_ledger.domain.notices.receivers import Notices, Receiver, parted
from asset_ledger.domain.notices.run import RunFacts
from asset_ledger.domain.notices.sending import next_message, why_late
from asset_ledger.domain.notices.text import moment
from asset_ledger.domain.notices.troubles import Entry
from asset_ledger.pipeline.notices import NOT_LOOKED_AT, message_of, what_a_run_gives
from asset_ledger.store import notices as store
from asset_ledger.store.database import Connection
from asset_ledger.store.query.runs import runs_beginning_with

_UNNUMBERED = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Shown:
    """What one receiver is told. Without a title it is told nothing; `left_out` says what else there is, and why it is
    not told."""

    receiver: str
    state: str
    title: str = ""
    body: str = ""
    left_out: tuple[str, ...] = ()


def of_what_waits(
    connection: Connection, notices: Notices, receivers: Sequence[Receiver], *, now: datetime
) -> list[Shown]:
    """Return the next message to each receiver, and what of what waits is not in it."""
    return [one for receiver in receivers for one in _waiting(connection, notices, receiver, now)]


def of_run(
    connection: Connection, notices: Notices, receivers: Sequence[Receiver], run: str, *, now: datetime
) -> list[Shown]:
    """Return what a run gave each receiver to hear; of one that was not looked at yet, what it would give now.

    Raises PermanentError(NOTICE_RUN_UNKNOWN).
    """
    saved = store.saved_run(connection, run)
    if saved is not None:
        digest, known = digest_of(saved["digest"]), digest_of(saved["known"])
        return [one for receiver in receivers for one in _of_saved(connection, notices, receiver, digest, known, now)]
    digest, known = what_a_run_gives(connection, notices, _facts(connection, run), now=now)
    return [one for receiver in receivers for one in _not_looked_at(notices, receiver, digest, known, now)]


def warnings(connection: Connection, notices: Notices) -> list[str]:
    """Return what could not be delivered or understood: what is odd in notices.yaml, what receivers do not take, runs
    that could not be looked at. One line each; every line ends with the next step."""
    names = {one.name for one in notices.receivers}
    found = [f"notices.yaml: {name}: {words}" for name, words in notices.warnings]
    for row in store.undelivered(connection):
        receiver = f"receiver {row['receiver']}"
        why = row["last_error"] or "it was not tried"
        if row["receiver"] not in names:
            if row["waiting"]:
                found.append(
                    f"{receiver}: notices.yaml does not name it, and {row['waiting']} wait for it for a day; "
                    "write it down again, or leave it"
                )
            continue
        if row["refused"]:
            found.append(
                f"{receiver}: {row['refused']} did not arrive and are tried again: {why}; "
                f"try it out: `asset-ledger notices test {row['receiver']}`"
            )
        if row["given_up"]:
            found.append(
                f"{receiver}: {row['given_up']} were given up, at last because: {why}; "
                "once it takes messages again: `asset-ledger notices deliver --again`"
            )
    found += [
        f"{one['place']}: {one['times']} of its runs could not be read for notices ({NOT_LOOKED_AT}), last at "
        f"{moment(one['last_at'])}; Dagster shows what became of them"
        for one in store.list_troubles(connection)
        if one["code"] == NOT_LOOKED_AT
    ]
    return found


def _waiting(connection: Connection, notices: Notices, receiver: Receiver, now: datetime) -> Iterator[Shown]:
    waiting = store.waiting_for(connection, receiver.name)
    last_at = store.last_sent_at(connection, receiver.name)
    chosen = next_message(waiting, receiver, now, last_at=last_at)
    quiet = receiver.quiet.until(now) if receiver.quiet else None
    odd = tuple(f"notices.yaml: {words}" for name, words in notices.warnings if name == receiver.name)
    left = odd + tuple(
        f"{one.digest['title']}: {_why_waits(one, receiver, now)}" for one in waiting if one not in chosen
    )
    if not chosen:
        state = "nothing is due" + (f", and it is quiet until {moment(quiet)}" if quiet else "")
        yield Shown(receiver.name, state, left_out=left)
        return
    digests = [(one.id, digest_of(one.digest)) for one in chosen]
    _, message = message_of(notices, digests, why_late(chosen, receiver, now))
    yield Shown(receiver.name, "is sent next", message.title, message.body, left)


def _why_waits(one: store.Waiting, receiver: Receiver, now: datetime) -> str:
    if not receiver.may_hear(one.severity, now):
        assert receiver.quiet is not None
        until = receiver.quiet.until(now)
        return f"quiet until {moment(until)}, and {one.severity} does not break through" if until else "quiet"
    if one.next_at > now:
        return f"tried {one.attempts} times, again at {moment(one.next_at)}"
    return "goes with the message after it"


def _of_saved(
    connection: Connection, notices: Notices, receiver: Receiver, digest: Digest, known: Digest, now: datetime
) -> Iterator[Shown]:
    left = tuple(_left_out(receiver, digest, known))
    rows = store.list_notices(connection, receiver=receiver.name, key=digest.run_id)
    for row in rows:
        # what was sent with others is shown as it was sent
        together = (
            store.of_batch(connection, receiver.name, row["batch"])
            if row["batch"]
            else store.notice(connection, row["id"])
        )
        late = why_late(together, receiver, row["delivered_at"] or now)
        _, message = message_of(notices, [(one.id, digest_of(one.digest)) for one in together], late)
        yield Shown(receiver.name, _state(row, receiver, now), message.title, message.body, left)
    if not rows:
        yield Shown(receiver.name, "is told nothing of this run", left_out=left)


def _not_looked_at(
    notices: Notices, receiver: Receiver, digest: Digest, known: Digest, now: datetime
) -> Iterator[Shown]:
    left = tuple(_left_out(receiver, digest, known))
    at_once, later = parted(receiver, digest.entries, now)
    quiet = receiver.quiet.until(now) if receiver.quiet else None
    states = ("would be told at once", f"would be told at the end of quiet, {moment(quiet)}" if quiet else "")
    for entries, state in zip((at_once, later), states, strict=True):
        if entries:
            # how it ended only Dagster knows
            _, message = message_of(notices, [(_UNNUMBERED, replace(digest, status="", entries=tuple(entries)))])
            yield Shown(receiver.name, f"{state} (the run was not looked at yet)", message.title, message.body, left)
    if not at_once and not later:
        yield Shown(receiver.name, "would be told nothing of this run", left_out=left)


def _left_out(receiver: Receiver, digest: Digest, known: Digest) -> Iterator[str]:
    for one in digest.entries:
        if why := receiver.why_not(one):
            yield f"{_named(one)}: {why}"
    for one in known.entries:
        why = receiver.why_not(one) or "told already, and nothing changed"
        yield f"{_named(one)}: {why}"


def _named(one: Entry) -> str:
    return f"{one.kind} {one.place} {one.code}"


def _state(row: dict[str, Any], receiver: Receiver, now: datetime) -> str:
    if row["state"] == "sent":
        return f"sent at {moment(row['delivered_at'])} as notice {str(row['batch'])[:8]}"
    if row["state"] == "given up":
        return f"given up at {moment(row['given_up_at'])}: {row['last_error']}"
    quiet = receiver.quiet.until(now) if receiver.quiet else None
    if quiet is not None and not receiver.may_hear(row["severity"], now):
        return f"waits for the end of quiet, {moment(quiet)}"
    why = f": {row['last_error']}" if row["last_error"] else ""
    return f"waits, tried {row['attempts']} times, next at {moment(row['next_at'])}{why}"


def _facts(connection: Connection, beginning: str) -> RunFacts:
    """Return what the ledger alone knows of a run that was not looked at: how it ended only Dagster knows."""
    found = runs_beginning_with(connection, beginning, limit=2)
    if len(found) != 1:
        cause = "several runs begin so" if found else "no run begins so"
        raise PermanentError(NOTICE_RUN_UNKNOWN, cause, target=beginning)
    known = store.run_in_ledger(connection, found[0])
    if known is None:
        raise PermanentError(NOTICE_RUN_UNKNOWN, "it has no target in the ledger", target=beginning)
    return RunFacts(
        run_id=found[0],
        job=known["source"],
        status="success",
        mode=known["mode"],
        source=known["source"],
        scope=known["scope"],
        day=known["day"],
        owner="",
        started_at=known["started_at"],
        ended_at=known["ended_at"],
    )
