"""The shape of raw of Aliyun: answers of the ECS API, one JSON line each, in the order they were asked for.

A line is `{"action", "query", "status", "data"}` with the data as received, or `{"action", "query", "status", "code",
"message", "request_id"}` of an answer without: status 0 is no answer at all. Values that may be secrets are replaced
before a line is written. Pure; `survey` and `regions` write, `parse` and `proof` read.

One reading has these records, `document["part"]` says which:

    region    one a region: the answer to DryRun, the pages of DescribeInstances, then those of DescribeDisks
    account   last: DescribeRegions as it was first and at the end, and for each region a line of what its record holds
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any

from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.aliyun.errors import PARSE_ERROR, code_of
from asset_ledger.sources.aliyun.redaction import without_secrets

MEDIA_TYPE = "application/x-aliyun-answers+jsonl"
REGION = "region"
ACCOUNT = "account"

_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `data` is None where there is none; `code` is Aliyun's name of an error, ours where it has none."""

    action: str
    query: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    data: Any = None
    code: str = ""
    message: str = ""
    request_id: str = ""

    @property
    def error(self) -> ErrorCode | None:
        """The error that it is, None where it holds data."""
        return code_of(self.status, self.code)

    @property
    def ok(self) -> bool:
        """Say whether it holds data."""
        return self.error is None

    @property
    def region(self) -> str:
        """The region that was asked, "" for what is asked of none."""
        return self.query.get("RegionId", "")

    @property
    def said(self) -> str:
        """What an answer without data says."""
        name = "" if self.code.startswith("ALIYUN_") else self.code
        words = ": ".join(one for one in (name, self.message) if one) or "no reason given"
        asked = f" (RequestId {self.request_id})" if self.request_id else ""
        return f"{self.status} {words}{asked}" if self.status else f"{words}{asked}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it is written: `kept` is stored, `received` (with secrets) only hashed."""

    kept: bytes
    received: bytes


def line(answer: Answer, body: bytes | None = None) -> Line:
    """Return an answer's line. `body` is the JSON of its data as received; without, the data is written anew."""
    head: dict[str, Any] = {"action": answer.action, "query": dict(answer.query), "status": answer.status}
    if not answer.ok:
        whole = dumped({**head, "code": answer.code, "message": answer.message, "request_id": answer.request_id})
        return Line(whole, whole)
    received = dumped(answer.data) if body is None else body
    clean = without_secrets(answer.data, received)
    # a line's end can only stand between two values: inside of texts JSON has it escaped
    if b"\n" in received or b"\r" in received:
        received = received.translate(_LINE_ENDS)
    start = dumped(head)[:-1] + b',"data":'
    whole = b"".join((start, received, b"}"))
    return Line(whole if clean is answer.data else b"".join((start, dumped(clean), b"}")), whole)


def plain_line(value: Mapping[str, Any]) -> Line:
    """Return the line of something that is no answer."""
    written = dumped(value)
    return Line(written, written)


def record(target: str, document: Mapping[str, Any], lines: Iterable[Line], observed_at: datetime) -> RawRecord:
    """Return the raw record of these lines. Each is taken once, and may be let go of then."""
    body, digest = BytesIO(), hashlib.sha256()
    count, redacted = 0, False
    for one in lines:
        count += 1
        body.write(one.kept)
        body.write(b"\n")
        digest.update(one.received)
        digest.update(b"\n")
        redacted = redacted or (one.kept is not one.received and one.kept != one.received)
    return RawRecord(
        target=target,
        media_type=MEDIA_TYPE,
        body=body.getvalue(),
        sha256=digest.digest(),
        document={**document, "lines": count},
        observed_at=observed_at,
        redacted=redacted,
    )


def read_lines(raw: RawRecord) -> Iterator[dict[str, Any]]:
    """Yield the lines of a record in their order. Raises PermanentError(ALIYUN_PARSE_ERROR) for damaged ones."""
    if raw.body and not raw.body.endswith(b"\n"):
        raise PermanentError(PARSE_ERROR, "the kept answers end in the middle of one", target=raw.target)
    if raw.document.get("lines") != (count := raw.body.count(b"\n")):
        raise PermanentError(PARSE_ERROR, f"it has {count} kept lines and was written with others", target=raw.target)
    for number, text in enumerate(BytesIO(raw.body), start=1):
        try:
            value = _DECODER.decode(text.decode("utf-8"))
            if b"\\u" in text and _ESCAPED.search(text):
                value = storable(value)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise PermanentError(PARSE_ERROR, f"line {number} of what is kept cannot be read", target=raw.target)
        yield value


def answer_of(kept: Mapping[str, Any], target: str) -> Answer:
    """Return a line as the answer that it is. Raises PermanentError(ALIYUN_PARSE_ERROR)."""
    words = [kept.get(name, "") for name in ("action", "code", "message", "request_id")]
    query, status = kept.get("query"), kept.get("status")
    shaped = all(isinstance(word, str) for word in words) and words[0] and type(status) is int
    if not shaped or not isinstance(query, dict) or not all(isinstance(value, str) for value in query.values()):
        raise PermanentError(PARSE_ERROR, "a line of what is kept is no answer", target=target)
    assert isinstance(status, int)
    action, code, message, request_id = words
    return Answer(action, query, status, kept.get("data"), code, message, request_id)


def read_answers(raw: RawRecord) -> Iterator[Answer]:
    """Yield the answers of a region's record. Raises PermanentError(ALIYUN_PARSE_ERROR) for damaged ones."""
    for one in read_lines(raw):
        yield answer_of(one, raw.target)


def decoded(text: str) -> Any:
    """Return what a JSON text says. Raises ValueError or RecursionError for what is none."""
    return _DECODER.decode(text)


def dumped(value: Any) -> bytes:
    """Return a value as one line of JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can only hold escaped
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def storable(value: Any) -> Any:
    """Return the value without what no database takes as text: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [storable(one) for one in value]
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
