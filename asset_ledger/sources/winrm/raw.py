"""The raw record of one probed host: answers as received, and how the probe went. Pure.

`collector` writes it with `record`, `parse` reads it with `read`. The body is JSON:
`[{"query", "wql", "answers": ["<s:Envelope…", …]} | {"query", "wql", "error": {"code", "message", "fault"}}, …]`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import REDACTED, holds_secret
from asset_ledger.domain.targets import ProbeTarget

MEDIA_TYPE = "application/x-wsman-answers+json"
_TEXT = re.compile(r"[^<>]+")


@dataclass(frozen=True, slots=True)
class QueryError:
    """Why a query has no answer: the code's name, words fit to be stored, and the fault's number if there was one."""

    code: str
    message: str
    fault: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one query. `answers` are the SOAP envelopes as received; empty where there is an `error`.

    `wql` is the text that was answered: the query's own, or the one of its fallbacks that the release knew.
    """

    query: str
    wql: str
    answers: tuple[bytes, ...] = ()
    error: QueryError | None = None


def record(
    target: ProbeTarget,
    answered: Sequence[Answered],
    *,
    transport: str,
    started_at: datetime,
    duration_ms: int,
    trace: Mapping[str, Any],
    error: Mapping[str, str] | None = None,
    cautions: Sequence[Mapping[str, str]] = (),
) -> RawRecord:
    """Return the raw record of one target. `transport` is `https` or `http`.

    `target.credential_ref` is the reference that was used. `error` and each of `cautions` have `code` and `message`;
    `trace` is anything else that JSON holds (steps, requests, bytes, authentication, certificate).
    """
    evidence = _body(answered, str)
    body = _body(answered, _without_secrets)
    document: dict[str, Any] = {
        "target": asdict(target),
        "transport": transport,
        "started_at": started_at.isoformat(),
        "duration_ms": duration_ms,
        "error": None if error is None else dict(error),
        "cautions": [dict(caution) for caution in cautions],
        "trace": dict(trace),
    }
    return RawRecord(
        target=target.mgmt_ip or target.hostname or "unnamed",
        media_type=MEDIA_TYPE,
        body=body,
        sha256=hashlib.sha256(evidence).digest(),
        document=document,
        observed_at=started_at,
        redacted=body != evidence,
    )


def read(body: bytes) -> dict[str, Answered]:
    """Return what came of each query, by its name. Raises ValueError for a body that `record` did not write."""
    entries = json.loads(body.decode("utf-8", "surrogateescape"))
    if not isinstance(entries, list):
        raise ValueError("the body is no list of queries")  # noqa: TRY004  what is wrong is the text, not a type
    found: dict[str, Answered] = {}
    for entry in entries:
        one = _answered(entry)
        if found.setdefault(one.query, one) is not one:
            raise ValueError(f"query {one.query} stands in it twice")
    return found


def _answered(entry: Any) -> Answered:
    match entry:
        case {"query": str(query), "wql": str(wql), "answers": [*texts]} if len(entry) == 3 and texts:
            if not all(isinstance(text, str) for text in texts):
                raise ValueError(f"an answer to query {query} is no text")
            return Answered(query, wql, tuple(text.encode("utf-8", "surrogateescape") for text in texts))
        case {
            "query": str(query),
            "wql": str(wql),
            "error": {"code": str(code), "message": str(message), "fault": fault},
        } if len(entry) == 3 and (fault is None or type(fault) is int):
            return Answered(query, wql, error=QueryError(code, message, fault))
        case _:
            raise ValueError("an entry is neither answers nor an error")


def _body(answered: Sequence[Answered], passed: Callable[[str], str]) -> bytes:
    # surrogateescape on both ways: bytes that are no UTF-8 are kept as they came
    return json.dumps([_entry(one, passed) for one in answered], ensure_ascii=False).encode("utf-8", "surrogateescape")


def _entry(one: Answered, passed: Callable[[str], str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"query": one.query, "wql": one.wql}
    if one.error is not None:
        return entry | {"error": asdict(one.error)}
    return entry | {"answers": [passed(answer.decode("utf-8", "surrogateescape")) for answer in one.answers]}


def _without_secrets(envelope: str) -> str:
    """Return the envelope with every piece of text that holds a key or token replaced."""
    if not holds_secret(envelope):
        return envelope
    return _TEXT.sub(lambda piece: REDACTED if holds_secret(piece[0]) else piece[0], envelope)
