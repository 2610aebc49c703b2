"""Watches the inbox of an import source. The decision is a pure function; the sensor is Dagster around it."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG, RUN_KEY_TAG

from asset_ledger.assets.policies import UNFINISHED
from asset_ledger.assets.source_chain import run_key
from asset_ledger.domain.errors import PermanentError
from asset_ledger.pipeline.chains import chains, collect_job, reading_config
from asset_ledger.pipeline.inbox import DroppedFile, by_day, reject, strangers, waiting
from asset_ledger.sources.platform import SourceConfig

INTERVAL_S = 10
AGAIN_AFTER = timedelta(minutes=10)
"""When a file that a failed run left in the inbox is asked for again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a tick remembers of a waiting file. `since` is when it came: the same file dropped again is a new drop."""

    fingerprint: str
    since: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a tick does: files to take, by day; names without a day; and what is still being written."""

    ready: Mapping[date, Sequence[DroppedFile]]
    misnamed: Sequence[tuple[DroppedFile, PermanentError]]
    still_changing: Sequence[str]
    seen: Mapping[str, Seen]


def decide(files: Sequence[DroppedFile], before: Mapping[str, Seen], now: datetime) -> Decision:
    """Return what to do about the waiting files. A file is whole if it is as the tick before saw it. Pure."""
    seen: dict[str, Seen] = {}
    whole: list[DroppedFile] = []
    for file in files:
        earlier = before.get(file.path.name)
        if earlier is not None and earlier.fingerprint == file.fingerprint:
            whole.append(file)
            seen[file.path.name] = earlier
        else:
            seen[file.path.name] = Seen(file.fingerprint, now.isoformat(timespec="seconds"))
    ready: dict[date, list[DroppedFile]] = {}
    misnamed: list[tuple[DroppedFile, PermanentError]] = []
    for file, day in by_day(whole, now):
        if isinstance(day, PermanentError):
            misnamed.append((file, day))
        else:
            ready.setdefault(day, []).append(file)
    still = [file.shown for file in files if file not in whole]
    return Decision(dict(sorted(ready.items())), misnamed, still, seen)


def build_inbox_sensor(source: SourceConfig) -> dg.SensorDefinition:
    """Return the sensor of an import source. It runs by default: dropping a file is the main way in."""
    inbox = source.inbox  # type: ignore[attr-defined]

    @dg.sensor(
        name=f"{source.name}_inbox",
        job_name=collect_job(source),
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Takes in CSV and Excel files dropped into {inbox.name}/, as soon as they have stopped growing.",
    )
    def inbox_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        decision = decide(waiting(inbox), _remembered(context.cursor), now)
        seen = dict(decision.seen)
        reasons: list[str] = []
        requests: list[dg.RunRequest] = []
        for day, files in decision.ready.items():
            held = _why_not(context.instance, source, day, files, seen, now)
            if held:
                reasons.append(held)
            else:
                requests.append(_request(source, day, files, seen))
        for file, error in decision.misnamed:
            with suppress(OSError):  # somebody took it back this very moment, or the folder may not be written
                reject(file.path, inbox, str(error))
        reasons += _reasons(inbox.name, decision, strangers(inbox))
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason("; ".join(reasons) or f"no file waits in {inbox.name}/"),
            cursor=json.dumps({name: asdict(file) for name, file in seen.items()}),  # ASCII: a name may hold anything
        )

    return inbox_sensor


def _request(source: SourceConfig, day: date, files: Sequence[DroppedFile], seen: Mapping[str, Seen]) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=_key(source, day, files, seen),
        partition_key=day.isoformat(),
        run_config=reading_config(chains(source), files=[file.path for file in files]),
        tags={"mode": "collect"},
    )


def _key(source: SourceConfig, day: date, files: Sequence[DroppedFile], seen: Mapping[str, Seen]) -> str:
    return run_key(source, day, [f"{file.path.name} {seen[file.path.name]}" for file in files])


def _why_not(
    instance: dg.DagsterInstance,
    source: SourceConfig,
    day: date,
    files: Sequence[DroppedFile],
    seen: dict[str, Seen],
    now: datetime,
) -> str | None:
    """Return why the files of a day are not asked for now, or None.

    A run key is used once, so files that a finished run left behind get a new one by coming anew, after a while.
    """
    names = ", ".join(file.shown for file in files[:5])
    job = collect_job(source)
    working = instance.get_runs(
        dg.RunsFilter(job_name=job, statuses=UNFINISHED, tags={PARTITION_NAME_TAG: day.isoformat()}), limit=1
    )
    if working:
        return f"{names}: run {working[0].run_id[:8]} is taking in files of {day}"
    tags = {RUN_KEY_TAG: _key(source, day, files, seen)}
    asked = instance.get_run_records(dg.RunsFilter(job_name=job, tags=tags), limit=1)
    if not asked:
        return None
    again_at = asked[0].update_timestamp.astimezone(UTC) + AGAIN_AFTER
    if now < again_at:
        run = asked[0].dagster_run
        return (
            f"{names}: run {run.run_id[:8]} ended ({run.status.value}) and left it; tried again at {again_at:%H:%M} UTC"
        )
    for file in files:
        seen[file.path.name] = Seen(file.fingerprint, now.isoformat(timespec="seconds"))
    return None


def _remembered(cursor: str | None) -> dict[str, Seen]:
    """Return what the tick before remembered; nothing where the cursor was written by hand or by an older release."""
    try:
        return {name: Seen(**file) for name, file in json.loads(cursor or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _reasons(folder: str, decision: Decision, others: Sequence[str]) -> list[str]:
    parts: list[str] = []
    if decision.still_changing:
        parts.append(f"waiting until {', '.join(decision.still_changing[:5])} stops changing")
    if decision.misnamed:
        parts.append(f"put aside: {', '.join(file.shown for file, _ in decision.misnamed[:5])} (see {folder}/rejected)")
    if others:
        parts.append(f"left alone (not CSV or Excel, or a link): {', '.join(others[:5])}")
    return parts
