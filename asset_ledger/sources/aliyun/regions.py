"""One region read to its end: may its instances be listed, the instances page by page, then the disks.

Called by `collector`, from several threads. A token belongs to its query: when it dies the list is begun anew, never
the page. What keeps the instances from being read ends the region; what keeps the disks from it does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from asset_ledger.domain.errors import LedgerError, error_of
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.client import AliyunClient
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.aliyun.errors import DRY_RUN_PASSED
from asset_ledger.sources.aliyun.pages import DISKS, INSTANCES, Page, PageError, instance_id, page
from asset_ledger.sources.aliyun.proof import Seen, Step, digest_of
from asset_ledger.sources.aliyun.raw import REGION, Answer, Line, dumped, line, record

PAGE_SIZES = {INSTANCES: 100, DISKS: 500}
RESTARTS = 2
"""How often a list is begun anew whose token died, or in which something came twice."""
IDS_A_CALL = 100


@dataclass(frozen=True, slots=True)
class Read:
    """What came of a region: what its record is made of, what the proof needs, and the error that ended it early."""

    document: Mapping[str, Any]
    lines: list[Line]
    observed_at: datetime
    seen: Seen
    error: LedgerError | None = None
    restarts: int = 0

    def take(self) -> RawRecord:
        """Return its record, once. Whoever takes it makes it, and its lines go with it: a region is large."""
        return record(self.seen.region, self.document, self._lines(), self.observed_at)

    def _lines(self) -> Iterator[Line]:
        self.lines.reverse()
        while self.lines:
            yield self.lines.pop()


@dataclass(slots=True)
class _Reading:
    """A region while it is read."""

    region: str
    host: str
    lines: list[Line] = field(default_factory=list)
    dry_run: tuple[int, str] | None = None
    steps: list[Step] = field(default_factory=list)
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class _Turned:
    """One page as it is kept, and as the proof needs it."""

    line: Line
    step: Step


class _TokenDiedError(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.said)


class _RefusedError(Exception):
    """A list ended with an answer that is no page. `told` has the pages before it."""

    def __init__(self, answer: Answer, why: str) -> None:
        super().__init__(why)
        self.answer = answer


class RegionReader:
    """Reads regions of one account. Safe to share between threads."""

    def __init__(self, config: AliyunConfig, client: AliyunClient) -> None:
        self._config = config
        self._client = client

    def read(self, region: str, host: str) -> Read:
        """Read a region. What goes wrong stands in what is returned; only being stopped raises."""
        began, started_at = monotonic(), datetime.now(UTC)
        reading = _Reading(region, host)
        error: LedgerError | None = None
        try:
            self._permitted(reading)
            self._instances(reading)
            self._disks(reading)
        except LedgerError as wrong:
            error = wrong
        ids = [one for step in reading.steps for one in step.ids]
        digest = digest_of(ids)
        document = {
            "part": REGION,
            "region": region,
            "host": host,
            "address_zone": self._config.address_zone,
            "instances": len(ids),
            "digest": digest,
            "restarts": reading.restarts,
            "error": None if error is None else {"code": error.code.code, "message": error.message},
            "started_at": started_at.isoformat(),
            "duration_ms": round((monotonic() - began) * 1000),
        }
        seen = Seen(
            region,
            reading.dry_run,
            tuple(reading.steps),
            "" if error is None else error.code.code,
            "" if error is None else error.message,
            len(ids),
            digest,
        )
        return Read(document, reading.lines, datetime.now(UTC), seen, error, reading.restarts)

    def check(self, region: str, host: str, action: str = INSTANCES) -> LedgerError | None:
        """Return what stands against listing the instances, or the disks, of a region, without listing them."""
        try:
            self._permitted(_Reading(region, host), action)
        except LedgerError as error:
            return error
        return None

    def look_up(self, region: str, host: str, ids: Sequence[str]) -> set[str] | None:
        """Return which of these instances a region has when asked for each, None where that is not answered."""
        found: set[str] = set()
        for at in range(0, len(ids), IDS_A_CALL):
            some = ids[at : at + IDS_A_CALL]
            query = {"RegionId": region, "MaxResults": str(IDS_A_CALL), "InstanceIds": dumped(some).decode()}
            told = self._client.ask(host, INSTANCES, query)
            try:
                rows = page(INSTANCES, told.answer.data).rows if told.answer.ok else None
            except PageError:
                rows = None
            if rows is None:
                return None
            found |= {instance_id(row) for row in rows} & set(some)
        return found

    def _permitted(self, reading: _Reading, action: str = INSTANCES) -> None:
        query = {"RegionId": reading.region, "MaxResults": str(PAGE_SIZES[action]), "DryRun": "true"}
        told = self._client.ask(reading.host, action, query)
        answer = told.answer
        reading.lines.append(line(answer, told.body))
        if answer.status:
            reading.dry_run = (answer.status, answer.code)
        if (answer.status, answer.code) == (400, DRY_RUN_PASSED):
            return
        if answer.ok:
            message = f"DryRun of {action} {reading.region} was answered as if it were a call, which proves no right"
            raise error_of(errors.PERMISSION_DENIED, message, reading.host)
        raise self._client.failure(answer, reading.host)

    def _instances(self, reading: _Reading) -> None:
        try:
            told = self._listed(reading, INSTANCES)
        except _RefusedError as refused:
            if refused.answer.ok:
                odd = Answer(INSTANCES, refused.answer.query, 200, None, errors.PARSE_ERROR.code, str(refused))
                reading.lines.append(line(odd))
                raise error_of(errors.PARSE_ERROR, f"{reading.region}: {refused}", reading.host) from None
            reading.lines.append(line(refused.answer))
            raise self._client.failure(refused.answer, reading.host) from None
        reading.lines += [one.line for one in told]
        reading.steps = [one.step for one in told]

    def _disks(self, reading: _Reading) -> None:
        """Read the disks. What they are answered with instead stands in the record, and `parse` says it."""
        if not any(step.ids for step in reading.steps):
            return
        try:
            told = self._listed(reading, DISKS)
        except _RefusedError as refused:
            reading.lines.append(line(refused.answer))
        except LedgerError as error:
            if error.code is not errors.NETWORK_ERROR:
                raise
            query = {"RegionId": reading.region}
            reading.lines.append(line(Answer(DISKS, query, 0, None, error.code.code, error.message)))
        else:
            reading.lines += [one.line for one in told]

    def _listed(self, reading: _Reading, action: str) -> list[_Turned]:
        """Return the pages of a list from the first to the last. Raises _RefusedError, or a LedgerError."""
        died = ""
        for attempt in range(RESTARTS + 1):
            try:
                found = list(self._pages(reading, action))
            except _TokenDiedError as error:
                died = str(error)
                reading.restarts += attempt < RESTARTS
                continue
            ids = [name for one in found for name in one.step.ids]
            if len(set(ids)) == len(ids) or attempt == RESTARTS:
                return found
            reading.restarts += 1
        message = f"{action} {reading.region}: the token of a page died {RESTARTS + 1} times: {died}"
        raise error_of(errors.NETWORK_ERROR, message, reading.host)

    def _pages(self, reading: _Reading, action: str) -> Iterator[_Turned]:
        named = {""}
        turned: _Turned | None = None
        while turned is None or turned.step.named:
            turned = self._page(reading, action, turned.step.named if turned is not None else "", named)
            yield turned
            named.add(turned.step.named)

    def _page(self, reading: _Reading, action: str, token: str, named: Collection[str]) -> _Turned:
        """Ask for the page of a token. What it holds is let go of at once: a region may have many pages."""
        query = {"RegionId": reading.region, "MaxResults": str(PAGE_SIZES[action])}
        if token:
            query["NextToken"] = token
        told = self._client.ask(reading.host, action, query)
        answer = told.answer
        if token and answer.error is errors.API_ERROR:
            raise _TokenDiedError(answer)
        if not answer.ok:
            raise _RefusedError(answer, answer.said)
        try:
            found = page(action, answer.data)
        except PageError as wrong:
            raise _RefusedError(answer, str(wrong)) from None
        if found.next_token and found.next_token in named:
            raise _RefusedError(answer, f"{action}: a page names the token of one before it")
        return _Turned(line(answer, told.body), _step(action, answer, found))


def _step(action: str, answer: Answer, found: Page) -> Step:
    request_id = answer.data.get("RequestId")
    ids = (instance_id(row) if action == INSTANCES else str(row.get("DiskId")) for row in found.rows)
    asked = answer.query.get("NextToken", "")
    return Step(asked, found.next_token, tuple(ids), request_id if isinstance(request_id, str) else "")
