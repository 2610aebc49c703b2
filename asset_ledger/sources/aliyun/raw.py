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
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import REDACTED, holds_secret, names_secret
from asset_ledger.sources.aliyun.errors import PARSE_ERROR, code_of

MEDIA_TYPE = "application/x-aliyun-answers+jsonl"
REGION = "region"
ACCOUNT = "account"

# free text that people put passwords into; nothing is derived from it
_SECRET_KEYS = frozenset({"Description", "UserData"})
# called tokens, and none that opens anything
_NO_SECRETS = frozenset({"NextToken", "HttpTokens"})
# what every value that looks like a secret has in it, as its text has it or at the beginning of a word: looking for
# these costs nothing. What is escaped may be anything
_MARKS = ("\\", "-----BEGIN", "://")
_BEGINNINGS = {mark: re.compile(rf"{mark}(?<=\b{mark})") for mark in ("eyJ", "hvs", "ghp", "glpat", "AKIA", "LTAI")}
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_HOLDERS = frozenset({dict, list})
_WHITE = re.compile("[\r\n]")


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


def line(answer: Answer, text: str | None = None) -> Line:
    """Return an answer's line. `text` is the JSON of its data as received; without, the data is written anew."""
    head: dict[str, Any] = {"action": answer.action, "query": dict(answer.query), "status": answer.status}
    if not answer.ok:
        whole = dumped({**head, "code": answer.code, "message": answer.message, "request_id": answer.request_id})
        return Line(whole, whole)
    written = dumped(answer.data) if text is None else None
    clean = _without_secrets(answer.data, text is None or _marked(text))
    # a line's end can only stand between two values: inside of texts JSON has it escaped
    if text is not None and ("\n" in text or "\r" in text):
        text = _WHITE.sub(" ", text)
    received = written if written is not None else (text or "").encode("utf-8")
    start = dumped(head)[:-1] + b',"data":'
    whole = b"".join((start, received, b"}"))
    return Line(whole if clean is answer.data else b"".join((start, dumped(clean), b"}")), whole)


def plain_line(value: Mapping[str, Any]) -> Line:
    """Return the line of something that is no answer."""
    written = dumped(value)
    return Line(written, written)


def record(target: str, document: Mapping[str, Any], lines: Iterable[Line], observed_at: datetime) -> RawRecord:
    """Return the raw record of these lines."""
    written = list(lines)
    digest = hashlib.sha256()
    for one in written:
        digest.update(one.received)
        digest.update(b"\n")
    return RawRecord(
        target=target,
        media_type=MEDIA_TYPE,
        body=b"".join(part for one in written for part in (one.kept, b"\n")),
        sha256=digest.digest(),
        document={**document, "lines": len(written)},
        observed_at=observed_at,
        redacted=any(one.kept is not one.received and one.kept != one.received for one in written),
    )


def read_lines(raw: RawRecord) -> list[dict[str, Any]]:
    """Return the lines of a record in their order. Raises PermanentError(ALIYUN_PARSE_ERROR) for damaged ones."""
    if raw.body and not raw.body.endswith(b"\n"):
        raise PermanentError(PARSE_ERROR, "the kept answers end in the middle of one", target=raw.target)
    texts = raw.body.split(b"\n")[:-1]
    if raw.document.get("lines") != len(texts):
        raise PermanentError(
            PARSE_ERROR, f"it has {len(texts)} kept lines and was written with others", target=raw.target
        )
    found = []
    for number, text in enumerate(texts, start=1):
        try:
            value = _DECODER.decode(text.decode("utf-8"))
            if b"\\u" in text and _ESCAPED.search(text):
                value = storable(value)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise PermanentError(PARSE_ERROR, f"line {number} of what is kept cannot be read", target=raw.target)
        found.append(value)
    return found


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


def read_answers(raw: RawRecord) -> list[Answer]:
    """Return the answers of a region's record. Raises PermanentError(ALIYUN_PARSE_ERROR) for damaged ones."""
    return [answer_of(one, raw.target) for one in read_lines(raw)]


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


def _marked(text: str) -> bool:
    """Say whether the JSON of a page may have a value in it that looks like a secret."""
    if any(mark in text for mark in _MARKS):
        return True
    return any(mark in text and begins.search(text) is not None for mark, begins in _BEGINNINGS.items())


@lru_cache(maxsize=4096)
def _shape(keys: tuple[str, ...]) -> tuple[frozenset[str], bool]:
    """Return which of an object's keys have values that are never kept, and whether it is a tag.

    A page has few shapes, again and again.
    """
    hidden = (key for key in keys if key in _SECRET_KEYS or (names_secret(key) and key not in _NO_SECRETS))
    return frozenset(hidden), "TagKey" in keys or "Key" in keys


def _without_secrets(value: Any, marked: bool) -> Any:
    """Return the value with what may be a secret replaced, the very same one where nothing is.

    `marked`: some value of the page has a mark of what looks like a secret; else texts need not be looked at.
    """
    if isinstance(value, list):
        cleaned = [_without_secrets(one, marked) if marked or one.__class__ in _HOLDERS else one for one in value]
        return cleaned if any(map(operator.is_not, cleaned, value)) else value
    if not isinstance(value, dict):
        return REDACTED if marked and isinstance(value, str) and holds_secret(value) else value
    hidden, tag = _shape(tuple(value))
    changed: dict[str, Any] = {key: REDACTED for key in hidden if value[key]}
    for key, one in value.items():
        # most values are plain, and this is where a large reading spends its time
        if one and (marked or one.__class__ in _HOLDERS) and key not in hidden and key not in _NO_SECRETS:
            clean = _without_secrets(one, marked)
            if clean is not one:
                changed[key] = clean
    if tag:
        # one that is called password: its value
        called = value.get("TagKey") or value.get("Key")
        for name in ("TagValue", "Value"):
            if isinstance(called, str) and value.get(name) and names_secret(called):
                changed[name] = REDACTED
    return {**value, **changed} if changed else value
