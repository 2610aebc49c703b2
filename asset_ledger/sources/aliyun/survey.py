"""What a reading is judged by: the regions as listed first and at the end, what came of each; and the last record.

Used by `collector`; what the evidence proves is `proof`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from asset_ledger.domain.errors import IncompleteError, LedgerError, error_of
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.aliyun import errors
from asset_ledger.sources.aliyun.account import Identity
from asset_ledger.sources.aliyun.client import AliyunClient, Told
from asset_ledger.sources.aliyun.config import AliyunConfig
from asset_ledger.sources.aliyun.pages import REGIONS, PageError, rows
from asset_ledger.sources.aliyun.proof import Evidence, LookUp, Seen, Verdict, look_up_line, prove, region_ids, written
from asset_ledger.sources.aliyun.raw import ACCOUNT, Answer, Line, line, plain_line, record

TARGET = "account"


class Survey:
    """The evidence of one reading while it grows."""

    def __init__(self, config: AliyunConfig, client: AliyunClient) -> None:
        self._config = config
        self._client = client
        self._before: Told | None = None
        self._after: Told | None = None
        self._hosts: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.look_up: LookUp | None = None
        self.identity: Identity | None = None
        self.unidentified = ""
        self.restarts = 0
        self._began, self._started_at = monotonic(), datetime.now(UTC)

    @property
    def asked(self) -> bool:
        """Say whether there is any evidence yet."""
        return self._before is not None

    @property
    def listed(self) -> tuple[str, ...]:
        """Every region that Aliyun lists, left out ones too."""
        return region_ids(self._before.answer) if self._before is not None else ()

    @property
    def hosts(self) -> Mapping[str, str]:
        """The regions that are to be read, and the server of each."""
        return self._hosts

    @property
    def unknown_exclusions(self) -> list[str]:
        """Regions that are left out and that Aliyun does not list."""
        return sorted(set(self._config.exclude_regions) - set(self.listed))

    def begin(self) -> None:
        """Ask which regions there are. Raises the error that the answer is."""
        self._before = self._regions()
        told = {row.get("RegionId"): row.get("RegionEndpoint") for row in rows(REGIONS, self._before.answer.data)}
        self._hosts = {
            region: self._config.host_of(region, endpoint if isinstance(endpoint := told.get(region), str) else "")
            for region in self.listed
            if region not in self._config.exclude_regions
        }

    def identify(self) -> None:
        """Ask whose the credential is. What keeps that from being known matters where the source names an account.

        Raises ALIYUN_CONFIG_INVALID for the credential of another account, and then too what kept it from being known.
        """
        wanted = self._config.account_id
        try:
            self.identity = self._client.identity()
        except LedgerError as error:
            if wanted:
                raise
            self.unidentified = error.message
            return
        if wanted and self.identity.account_id != wanted:
            message = f"the credential is of another account than account_id names, {wanted}: it is {self.identity}"
            raise error_of(errors.CONFIG_INVALID, message, self._config.credential_ref or self._config.name)

    def again(self) -> None:
        """Ask a second time which regions there are. Raises the error that the answer is."""
        self._after = self._regions()

    def verdict(self) -> Verdict:
        """Judge what is there."""
        before, after = (None if told is None else told.answer for told in (self._before, self._after))
        excluded = frozenset(self._config.exclude_regions)
        return prove(Evidence(before, after, excluded, tuple(self.seen), self.look_up))

    def refusal(self) -> IncompleteError:
        """Return the error of a reading that is not proven whole."""
        verdict = self.verdict()
        against = verdict.denied or verdict.incomplete
        proof = {**verdict.proof.counts, "missing": list(verdict.proof.missing)}
        return IncompleteError(verdict.code, "; ".join(against), target=self._client.target, proof=proof)

    def record(self, error: LedgerError | None) -> RawRecord:
        """Return the last record: the evidence, how it went, and the error that ended the reading."""
        lines: list[Line] = []
        for when, told in (("before", self._before), ("after", self._after)):
            if told is not None:
                lines.append(_marked(when, told))
        lines += [plain_line(written(one)) for one in self.seen]
        if self.look_up is not None:
            lines.append(plain_line(look_up_line(self.look_up)))
        document: dict[str, Any] = {
            "part": ACCOUNT,
            "exclude_regions": sorted(self._config.exclude_regions),
            "account": self._client.account.kind,
            "identity": None if self.identity is None else asdict(self.identity),
            "endpoint": self._client.target,
            "tls_verify": self._config.tls_verify,
            "requests": self._client.requests,
            "rate_limited": self._client.rate_limited,
            "restarts": self.restarts,
            "error": None if error is None else {"code": error.code.code, "message": error.message},
            "started_at": self._started_at.isoformat(),
            "duration_ms": round((monotonic() - self._began) * 1000),
        }
        return record(TARGET, document, lines, datetime.now(UTC))

    def _regions(self) -> Told:
        host = self._config.host_of(self._config.home_region)
        told = self._client.ask(host, REGIONS, {"AcceptLanguage": "en-US"})
        if not told.answer.ok:
            raise self._client.failure(told.answer, host)
        try:
            region_ids(told.answer)
        except PageError as wrong:
            raise error_of(errors.PARSE_ERROR, str(wrong), host) from None
        return told


def _marked(when: str, told: Told) -> Line:
    """Return the line of an answer that says when it was asked for."""
    mark = f'{{"when":"{when}",'.encode()
    made = line(Answer(told.answer.action, told.answer.query, told.answer.status, told.answer.data), told.body)
    return Line(mark + made.kept[1:], mark + made.received[1:])
