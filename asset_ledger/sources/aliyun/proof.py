"""Whether a reading is the whole of the account, and how that is known. Pure: a function of the evidence alone.

ECS answers a list that may not be read with status 200 and no instances, and the total that it names means nothing
while pages go by tokens. So no count proves anything; what does is that DryRun passed in every region, that every chain
of tokens came to its end, that nothing came twice, and that the regions were the same at the end.

`survey` judges by `prove` what it has; `parse` yields its proof at every derivation. docs/platforms/aliyun.md explains
the steps.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, ErrorCode, PermanentError
from asset_ledger.domain.inventory import Proof
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.aliyun.config import REGION_ID
from asset_ledger.sources.aliyun.errors import DRY_RUN_PASSED, PARSE_ERROR, PERMISSION_DENIED, code_of
from asset_ledger.sources.aliyun.pages import REGIONS, PageError, rows
from asset_ledger.sources.aliyun.raw import Answer, answer_of, read_lines

SHOWN = 10
GRANT = 'attach AliyunECSReadOnlyAccess, or a policy with ecs:DescribeInstances on Resource "*"'


@dataclass(frozen=True, slots=True)
class Step:
    """One page of a region's instances: the token it was asked with, the one it named, and the ids on it."""

    asked: str
    named: str
    ids: tuple[str, ...]
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of one region. `dry_run` is status and code; `error` the name of the code that ended it, or ""."""

    region: str
    dry_run: tuple[int, str] | None = None
    steps: tuple[Step, ...] = ()
    error: str = ""
    message: str = ""
    instances: int | None = None
    digest: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id, in the order received."""
        return tuple(one for step in self.steps for one in step.ids)


@dataclass(frozen=True, slots=True)
class LookUp:
    """Instances that the ledger knows and no list has: how many, how many were asked for by id, which of them exist.

    `silent` are regions that did not answer that.
    """

    lacking: int
    asked: int
    exist: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a reading is judged by. `before` and `after` are the answers of DescribeRegions, None where not asked."""

    before: Answer | None = None
    after: Answer | None = None
    excluded: frozenset[str] = frozenset()
    seen: tuple[Seen, ...] = ()
    look_up: LookUp | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The proof, and why it does not hold: `denied` for lack of rights, `incomplete` for anything else.

    `code` is the error that says it best.
    """

    proof: Proof
    denied: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    code: ErrorCode = INVENTORY_INCOMPLETE


@dataclass(slots=True)
class _Judge:
    counts: dict[str, Any] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)


def digest_of(ids: Iterable[str]) -> str:
    """Return the digest of a region's ids in their order: its record and the proof's both have it."""
    return hashlib.blake2b("\n".join(ids).encode(), digest_size=16).hexdigest()


def region_ids(answer: Answer | None) -> tuple[str, ...]:
    """Return the ids in an answer of DescribeRegions. Raises PageError for what cannot be."""
    if answer is None or not answer.ok:
        raise PageError(f"{REGIONS}: {answer.said if answer is not None else 'it was not asked for'}")
    found = []
    for row in rows(REGIONS, answer.data):
        name = row.get("RegionId")
        # a region becomes the name of a server
        if not isinstance(name, str) or len(name) > 64 or REGION_ID.fullmatch(name) is None:
            raise PageError(f"{REGIONS}: a region has no RegionId that can be one")
        found.append(name)
    if not found:
        raise PageError(f"{REGIONS}: it lists no region")
    if len(set(found)) != len(found):
        raise PageError(f"{REGIONS}: it lists a region twice")
    return tuple(found)


def prove(evidence: Evidence) -> Verdict:
    """Return whether this evidence proves a reading whole. What is missing stands against it; nothing raises."""
    judge = _Judge()
    wanted = _judge_regions(evidence, judge)
    by_region: dict[str, list[Seen]] = {}
    for one in evidence.seen:
        by_region.setdefault(one.region, []).append(one)
    if stray := by_region.keys() - wanted:
        judge.incomplete.append(f"regions were read that are not to be read: {_shown(stray)}")
    instances: dict[str, int] = {}
    for region in sorted(wanted):
        several = by_region.get(region, [])
        if len(several) != 1:
            judge.incomplete.append(f"{region} was {'read twice' if several else 'not read'}")
            continue
        _judge_region(several[0], judge)
        instances[region] = len(several[0].ids)
    twice = [one for one, count in Counter(one for seen in evidence.seen for one in seen.ids).items() if count > 1]
    if twice:
        judge.incomplete.append(f"{_many(twice, 'instance')} came more than once: {_shown(twice)}")
    if looked := evidence.look_up:
        judge.counts["known_not_listed"] = {"known": looked.lacking, "asked_for": looked.asked}
        if looked.asked < looked.lacking:
            judge.incomplete.append(
                f"of {looked.lacking} known instances that are in no list only {looked.asked} were asked for by id"
            )
        if looked.exist:
            judge.incomplete.append(
                f"{_many(looked.exist, 'instance')} that the ledger knows exist and are in no list: "
                f"{_shown(looked.exist)}"
            )
    judge.counts["instances"] = sum(instances.values())
    judge.counts["instances_by_region"] = {region: count for region, count in instances.items() if count}
    judge.counts["pages"] = sum(len(one.steps) for one in evidence.seen)
    judge.counts["dry_run_passed"] = sum(one.dry_run == (400, DRY_RUN_PASSED) for one in evidence.seen)
    denied, incomplete = tuple(dict.fromkeys(judge.denied)), tuple(dict.fromkeys(judge.incomplete))
    proof = Proof(judge.counts, (*denied, *incomplete))
    return Verdict(proof, denied, incomplete, _code(evidence, denied))


def _code(evidence: Evidence, denied: Sequence[str]) -> ErrorCode:
    """Return the code of the one cause that there is, or INVENTORY_INCOMPLETE."""
    if denied:
        return PERMISSION_DENIED
    causes = {one.error for one in evidence.seen if one.error}
    if len(causes) != 1:
        return INVENTORY_INCOMPLETE
    return code_of(0, causes.pop()) or INVENTORY_INCOMPLETE


def _judge_regions(e: Evidence, judge: _Judge) -> set[str]:
    """Return the regions that a whole reading has."""
    known: dict[str, set[str]] = {}
    for when, answer in (("before", e.before), ("after", e.after)):
        try:
            known[when] = set(region_ids(answer))
        except PageError as wrong:
            judge.incomplete.append(f"the regions could not be read {when} the reading: {wrong}")
    before, after = known.get("before"), known.get("after")
    judge.counts["regions"] = {"before": None if before is None else len(before)}
    judge.counts["regions"]["after"] = None if after is None else len(after)
    judge.counts["excluded"] = sorted(e.excluded)
    if before is not None and after is not None:
        # a region that is left out may come and go
        if new := after - before - e.excluded:
            judge.incomplete.append(f"regions were opened while reading: {_shown(new)}; read again")
        if gone := before - after - e.excluded:
            judge.incomplete.append(f"regions were closed while reading: {_shown(gone)}; read again")
    wanted = (before or set()) - e.excluded
    if before is not None and not wanted:
        judge.incomplete.append("exclude_regions leaves no region to read")
    return wanted


def _judge_region(seen: Seen, judge: _Judge) -> None:
    region = seen.region
    if seen.dry_run is None:
        judge.incomplete.append(f"{region}: {seen.message or 'whether the account may list instances was not asked'}")
        return
    if seen.dry_run != (400, DRY_RUN_PASSED):
        status, name = seen.dry_run
        if code_of(status, name) in (PERMISSION_DENIED, None):
            told = f"DryRun of DescribeInstances was answered with {status} {name}".rstrip()
            judge.denied.append(f"{region}: the account may not list instances ({told}): {GRANT}")
        else:
            judge.incomplete.append(f"{region}: {seen.message or f'DryRun was answered with {status} {name}'}")
        return
    if seen.error:
        judge.incomplete.append(f"{region}: {seen.message or seen.error}")
        return
    if broken := _broken(seen.steps):
        judge.incomplete.append(f"{region}: {broken}")
    if len(seen.ids) != seen.instances or digest_of(seen.ids) != seen.digest:
        judge.incomplete.append(f"{region}: its list of instances is not the one that was received")


def _broken(steps: Sequence[Step]) -> str:
    """Say where a chain of tokens is not whole, or "" where it is."""
    if not steps:
        return "no page of its instances was read"
    if steps[0].asked:
        return "its instances were not read from the first page on"
    for before, after in pairwise(steps):
        if not before.named or before.named != after.asked:
            return "a page of its instances does not follow from the one before"
    if steps[-1].named:
        return "its instances were not read to the last page"
    named = [step.named for step in steps]
    return "a token of its pages came twice" if len(set(named)) != len(named) else ""


def written(seen: Seen) -> dict[str, Any]:
    """Return a region's evidence as a line of the last record has it."""
    return {"region": seen.region, **{key: value for key, value in asdict(seen).items() if key != "region"}}


def look_up_line(look_up: LookUp) -> dict[str, Any]:
    """Return the look-up as a line of the last record has it."""
    return {"look_up": asdict(look_up)}


def read_evidence(raw: RawRecord) -> Evidence:
    """Return the evidence in the last record of a reading. Raises PermanentError(ALIYUN_PARSE_ERROR)."""
    excluded = raw.document.get("exclude_regions")
    if not isinstance(excluded, list) or not all(isinstance(one, str) for one in excluded):
        raise PermanentError(PARSE_ERROR, "it does not say which regions were left out", target=raw.target)
    answers: dict[str, Answer] = {}
    seen: list[Seen] = []
    looked: LookUp | None = None
    for kept in read_lines(raw):
        when = kept.get("when")
        if when in ("before", "after") and when not in answers:
            answers[when] = answer_of(kept, raw.target)
        elif "region" in kept:
            seen.append(_seen(kept, raw.target))
        elif "look_up" in kept and looked is None:
            looked = _look_up(kept["look_up"], raw.target)
        else:
            raise PermanentError(PARSE_ERROR, "a line of it is neither regions nor a region", target=raw.target)
    return Evidence(answers.get("before"), answers.get("after"), frozenset(excluded), tuple(seen), looked)


def _look_up(kept: Any, target: str) -> LookUp:
    match kept:
        case {"lacking": int(lacking), "asked": int(asked), "exist": list(exist), "silent": list(silent)}:
            if all(isinstance(one, str) for one in (*exist, *silent)):
                return LookUp(lacking, asked, tuple(exist), tuple(silent))
    raise PermanentError(PARSE_ERROR, "what it says of known instances cannot be read", target=target)


def _seen(kept: Mapping[str, Any], target: str) -> Seen:
    match kept:
        case {
            "region": str(region),
            "dry_run": None | [int(), str()] as dry_run,
            "steps": list(steps),
            "error": str(error),
            "message": str(message),
            "instances": None | int() as instances,
            "digest": str(digest),
        }:
            told = None if dry_run is None else (dry_run[0], dry_run[1])
            return Seen(region, told, tuple(_step(one, target) for one in steps), error, message, instances, digest)
    raise PermanentError(PARSE_ERROR, "what it says of a region cannot be read", target=target)


def _step(kept: Any, target: str) -> Step:
    match kept:
        case {"asked": str(asked), "named": str(named), "ids": list(ids), "request_id": str(request_id)}:
            if all(isinstance(one, str) for one in ids):
                return Step(asked, named, tuple(ids), request_id)
    raise PermanentError(PARSE_ERROR, "what it says of a page cannot be read", target=target)


def _many(what: Sequence[str], name: str) -> str:
    return f"1 {name}" if len(what) == 1 else f"{len(what)} {name}s"


def _shown(names: Iterable[str]) -> str:
    """Return the first few of many, and how many more there are."""
    every = sorted(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
