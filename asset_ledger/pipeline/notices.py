"""Tells people what runs did: looks at each run once, puts what is news into the outbox, and sends what is due.

The first two are one transaction: there is no run that was looked at and not told of. A digest stays in the table until
its receiver has it; what was taken by a receiver, and of which we did not hear any more, comes again with the same
number. Called by the sensor and the job of notices, and by the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from asset_ledger.domain.errors import CONFIG_INVALID, LedgerError, PermanentError
from asset_ledger.domain.notices.digest import Digest, clean, digest_of, in_order
from asset_ledger.domain.notices.news import Decided, decide, open_still
from asset_ledger.domain.notices.receivers import Notices, Receiver, parted
from asset_ledger.domain.notices.redaction import redacted
from asset_ledger.domain.notices.run import (
    Found,
    HeldReading,
    RunFacts,
    StepFailed,
    TargetSaid,
    looked_at,
    troubles_of,
)
from asset_ledger.domain.notices.sending import next_message, refused_itself, why_late
from asset_ledger.domain.notices.text import Message, compose, moment
from asset_ledger.domain.notices.troubles import Key, Looked, Standing, Trouble
from asset_ledger.notify.people import send, url_of
from asset_ledger.notify.webhooks import Answered
from asset_ledger.sources.platform import Secrets
from asset_ledger.store import notices as store
from asset_ledger.store.database import Connection
from asset_ledger.store.derive.absences import list_held

_QUIET = " quiet"
"""Ends the key of what is kept for the end of quiet hours: a run may give something for now and something for then."""
NOT_LOOKED_AT = "NOT_LOOKED_AT"
"""The code of a run that could not be looked at, because of a defect."""
_ADDED = "open when this receiver was added"
_SENDS = "deliver"
"""The mode of runs that only send."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one message. `again_at` is None where it arrived."""

    receiver: str
    number: str
    digests: int
    answered: Answered
    again_at: datetime | None


@dataclass
class Outcome:
    """What a delivery did. `unusable` says, by the receiver's name, what is wrong with how it is written down here;
    `given_up` are digests that were tried for a day; `defects` are of this program, by their type and place."""

    done: list[Told] = field(default_factory=list)
    given_up: int = 0
    unusable: dict[str, LedgerError] = field(default_factory=dict)
    defects: dict[str, str] = field(default_factory=dict)

    @property
    def arrived(self) -> int:
        return sum(one.answered.arrived for one in self.done)


def look_at_run(connection: Connection, notices: Notices, facts: RunFacts, *, now: datetime) -> bool:
    """Put what a run that ended gives to tell into the outbox; say whether it was not looked at before.

    Once more changes nothing.
    """
    with store.deciding(connection):
        if store.looked_already(connection, [facts.run_id]):
            return False
        facts, decided = _decided(connection, notices, facts, now=now)
        digest, known = _digests(facts, decided)
        store.save_standing(connection, decided.standing, now=now)
        store.save_run(connection, facts.as_json(), digest, known, ended_at=facts.ended_at, now=now)
        _enqueue(connection, notices, facts.run_id, digest, now=now)
    return True


def note_defect(connection: Connection, notices: Notices, run: RunFacts, defect: Exception, *, now: datetime) -> None:
    """Note a run that could not be looked at as looked at, and tell that: by the defect's type, never in its words.

    `run` is what is known of it for certain; nothing else of it is read, since the defect may lie there.
    """
    said = f"what this run did could not be read for notices, by a defect: {_named(defect)}; Dagster shows the run"
    facts = replace(run, status="failure", failed=(StepFailed("", NOT_LOOKED_AT, "", said),))
    with store.deciding(connection):
        before = {key: one for key, one in store.standing(connection).items() if one.kind != "silent"}
        decided = decide(troubles_of(facts), [], before, now=now, again_after=notices.again_after)
        digest, known = _digests(facts, decided)
        store.save_standing(connection, decided.standing, now=now)
        store.save_run(connection, facts.as_json(), digest, known, ended_at=facts.ended_at, now=now)
        _enqueue(connection, notices, facts.run_id, digest, now=now)


def not_looked_at(connection: Connection, run_ids: Sequence[str]) -> set[str]:
    """Return which of these runs were not looked at yet."""
    return set(run_ids) - store.looked_already(connection, run_ids) if run_ids else set()


def look_at_dagster(
    connection: Connection, notices: Notices, troubles: Sequence[Trouble], looked: Sequence[Looked], *, now: datetime
) -> int:
    """Put what is wrong with Dagster's own sensors and schedules into the outbox; return how much of it is news."""
    with store.deciding(connection):
        decided = decide(
            troubles,
            looked,
            {key: one for key, one in store.standing(connection).items() if one.kind == "silent"},
            now=now,
            again_after=notices.again_after,
        )
        entries = tuple(in_order(clean(one) for one in decided.entries))
        store.save_standing(connection, decided.standing, now=now)
        if entries:
            digest = Digest("Dagster", "", "", now, entries)
            _enqueue(connection, notices, f"look {now.isoformat()}", digest, now=now)
    return len(entries)


def welcome(connection: Connection, notices: Notices, names: Collection[str], *, since: datetime, now: datetime) -> int:
    """Put what is open into the outbox of receivers that were added after `since`, one digest each; return how many.

    Once more with the same `since` changes nothing.
    """
    added = tuple(one for one in notices.receivers if one.name in names)
    if not added:
        return 0
    with store.deciding(connection):
        standing = store.standing(connection)
        open_now = store.open_findings(connection)
        findings = {
            one.key: open_now[one.source, one.code.lower()] for one in standing.values() if one.kind == "finding"
        }
        # of a finding that was closed since the last run nothing is left to be told
        still = [one for one in standing.values() if findings.get(one.key, 1)]
        entries = open_still(still, store.last_told(connection), findings)
        digest = Digest(_ADDED, "", "", now, tuple(in_order(clean(one) for one in entries)))
        return _enqueue(
            connection, replace(notices, receivers=added), f"added after {since.isoformat()}", digest, now=now
        )


def due(connection: Connection, notices: Notices, *, now: datetime) -> list[str]:
    """Return a key of each message that is to be sent now: another for every other message and attempt."""
    found = []
    for receiver in notices.receivers:
        last_at = store.last_sent_at(connection, receiver.name)
        chosen = next_message(store.waiting_for(connection, receiver.name), receiver, now, last_at=last_at)
        if chosen:
            tried = max(one.attempts for one in chosen)
            found.append(f"{receiver.name} {_number([one.id for one in chosen])[:8]} {tried}")
    return found


def deliver(
    connection: Connection, notices: Notices, credentials: Secrets, *, clock: Callable[[], datetime]
) -> Outcome:
    """Send each receiver what is due for it, as one message; the next one is the next delivery's.

    One that does not take it rests, with all that waits for it, or with this message alone where it took others since
    that was tried first. One that cannot be used as it is written down (no credential, no address) rests too and is in
    `unusable`, one whose message meets a defect in `defects`: the others go on.
    """
    outcome = Outcome()
    outcome.given_up += store.forget(connection, [one.name for one in notices.receivers], now=clock())
    for receiver in notices.receivers:
        with store.sending_to(connection, receiver.name) as alone:
            if alone:
                _deliver_to(connection, notices, receiver, credentials, outcome, clock)
    return outcome


def put_back(connection: Connection, notices: Notices, *, now: datetime) -> int:
    """Let what was given up be due again, of receivers that there are; return how much that is."""
    return store.put_back(connection, [one.name for one in notices.receivers], now=now)


def try_out(receiver: Receiver, credentials: Secrets, *, now: datetime) -> Answered:
    """Send a receiver a message that says what it is. Raises a LedgerError for one that cannot be used."""
    text = f"**asset_ledger** sends its notices here: receiver {receiver.name}.\n\nA test, of {moment(now)}."
    message = Message("[asset_ledger] test", text, "info")
    return send(
        url_of(credentials.resolve(receiver.credential_ref), receiver.credential_ref), message, receiver=receiver.name
    )


def receiver_named(notices: Notices, name: str) -> Receiver:
    """Return a receiver of notices.yaml. Raises PermanentError(CONFIG_INVALID) naming those there are."""
    for receiver in notices.receivers:
        if receiver.name == name:
            return receiver
    names = ", ".join(receiver.name for receiver in notices.receivers) or "none"
    raise PermanentError(CONFIG_INVALID, f"notices.yaml has no receiver of this name; there are: {names}", target=name)


def message_of(notices: Notices, digests: Sequence[tuple[UUID, Digest]], late: str = "") -> tuple[str, Message]:
    """Return the number and the text of the message that tells a receiver of these digests: always the same."""
    number = _number([one for one, _ in digests])
    return number, compose(
        [digest for _, digest in digests], dagster_url=notices.dagster_url, message=number, why_late=late
    )


def what_a_run_gives(
    connection: Connection, notices: Notices, facts: RunFacts, *, now: datetime
) -> tuple[Digest, Digest]:
    """Return what would be news of a run if it were looked at now, and what would not be told again. Writes nothing."""
    facts, decided = _decided(connection, notices, facts, now=now)
    return _digests(facts, decided)


def _deliver_to(
    connection: Connection,
    notices: Notices,
    receiver: Receiver,
    credentials: Secrets,
    outcome: Outcome,
    clock: Callable[[], datetime],
) -> None:
    now = clock()
    last_at = store.last_sent_at(connection, receiver.name)
    chosen = next_message(store.waiting_for(connection, receiver.name), receiver, now, last_at=last_at)
    if not chosen:
        return
    number = _number([one.id for one in chosen])
    # committed before it is sent: whoever tries again after this process died sends the same
    store.begin(connection, [one.id for one in chosen], UUID(number), now=now)
    try:
        digests = [(one.id, digest_of(one.digest)) for one in chosen]
        _, message = message_of(notices, digests, why_late(chosen, receiver, now))
        address = url_of(credentials.resolve(receiver.credential_ref), receiver.credential_ref)
        answered = send(address, message, receiver=receiver.name)
    except LedgerError as error:
        outcome.unusable[receiver.name] = error
        answered = Answered(None, str(error), away=True)
    except Exception as error:  # noqa: BLE001 - it is told by the run, once the others have theirs
        outcome.defects[receiver.name] = _named(error)
        answered = Answered(None, f"a defect: {_named(error)}", away=True)
    again_at: datetime | None = None
    with connection.transaction():
        if answered.why is None:
            store.delivered(connection, [one.id for one in chosen], answered.status, now=clock())
        else:
            again_at, given_up = store.failed(
                connection,
                receiver.name,
                chosen,
                now=clock(),
                status=answered.status,
                why=answered.why,
                at_least=timedelta(seconds=answered.retry_after_s),
                alone=not answered.retry_after_s and refused_itself(chosen, last_at),
            )
            outcome.given_up += given_up
    outcome.done.append(Told(receiver.name, number[:8], len(chosen), answered, again_at))


def _decided(connection: Connection, notices: Notices, facts: RunFacts, *, now: datetime) -> tuple[RunFacts, Decided]:
    recorded = store.targets_of(connection, facts.run_id)
    if recorded and all(mode == "replay" for _, mode in recorded):
        facts = replace(facts, mode="replay")  # a past day, asked for by Dagster's own screens
    targets = [said for said, mode in recorded if mode != "replay"]
    before = {key: one for key, one in store.standing(connection).items() if one.kind != "silent"}
    held, asked, findings = _of_the_ledger(connection, facts, targets, before)
    looked = looked_at(facts, targets, asked)
    if not facts.replays:
        looked += _findings_gone(connection, before)
    wrong = troubles_of(facts, targets, held, findings)
    return facts, decide(wrong, looked, before, now=now, again_after=notices.again_after)


def _of_the_ledger(
    connection: Connection, facts: RunFacts, targets: Sequence[TargetSaid], before: Mapping[Key, Standing]
) -> tuple[list[HeldReading], set[str], list[Found]]:
    """Return the held readings of the run's sources, which sources were asked for such, and what findings opened."""
    if facts.replays or facts.mode == _SENDS:
        return [], set(), []
    asked = {one.source for one in targets} | {one.source for one in before.values() if one.kind == "held_removal"}
    held = [
        HeldReading(each["id"], each["source"], each["scope"], each["waiting"])
        for each in (list_held(connection) if asked else [])
        if each["source"] in asked
    ]
    # what opened between two runs is told with the second; that it is told once is the standing's matter
    since = store.last_looked_until(connection, but=_SENDS)
    findings = store.opened_findings(connection, min(since or facts.started_at, facts.started_at), facts.ended_at)
    return held, asked, findings


def _findings_gone(connection: Connection, before: Mapping[Key, Standing]) -> list[Looked]:
    """Return the kinds of findings of sources that were told and of which none is open any more."""
    told = [one for one in before.values() if one.kind == "finding"]
    still = {(source, kind.upper()) for source, kind in store.open_findings(connection)} if told else set()
    return [Looked("finding", one.place, None, one.code) for one in told if (one.place, one.code) not in still]


def _digests(facts: RunFacts, decided: Decided) -> tuple[Digest, Digest]:
    """Return what is news of a run, and what is known, both fit to leave the house."""
    of = facts.source or facts.job
    what = facts.mode if facts.source and facts.mode else ""
    scope = f" {facts.scope}" if facts.source and facts.scope not in ("", "all") else ""
    title = redacted(f"{of}{scope}" + (f" {what}" if what else "") + (f" of {facts.day}" if facts.day else ""))
    known = tuple(in_order(clean(one) for one in decided.known))
    news = tuple(in_order(clean(one) for one in decided.entries))
    digest = Digest(title, facts.run_id, facts.status, facts.ended_at, news, len(known), redacted(facts.owner))
    return digest, replace(digest, entries=known, known=0)


def _enqueue(connection: Connection, notices: Notices, key: str, digest: Digest, *, now: datetime) -> int:
    """Put in what each receiver wants of a digest; return how many were not there yet."""
    put_in = 0
    for receiver in notices.receivers:
        at_once, later = parted(receiver, digest.entries, now)
        for entries, named in ((at_once, key), (later, key + _QUIET)):
            if entries:
                wanted = replace(digest, entries=tuple(entries))
                put_in += store.enqueue(connection, receiver.name, named, wanted, now=now)
    return put_in


def _named(defect: Exception) -> str:
    """Return a defect's type and where it came up; not its words, which may quote anything."""
    at = defect.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = "" if at is None else f" in {Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
    return f"{type(defect).__name__}{where}"


def _number(ids: Sequence[UUID]) -> str:
    """Return the number of the message that tells of these: the same whoever sends it, and whenever."""
    return str(uuid5(NAMESPACE_URL, "asset-ledger notice " + " ".join(sorted(map(str, ids)))))
