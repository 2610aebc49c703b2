"""The shape of raw of Proxmox VE: answers of its API, one JSON line each, in the order they were asked for.

A line is `{"path", "query"?, "status", "data"}` with the data as received, or `{"path", "query"?, "status", "reason",
"errors"?, "code"?}` of an answer without: status 0 is no answer at all. Values that may be secrets are replaced before
a line is written. Pure; `collector` writes, `parse` and `proof` read.

One reading has these records, `document["part"]` says which:

    node      one a node: its row of /nodes, its and the cluster's of /cluster/status, its guests' rows of
              /cluster/resources, its status, network and guest list, and of every guest its config and the addresses
              it was asked for
    guests    guests that were not in the first list and are in the second, in the same way; at most one, seldom
    cluster   last: everything the proof needs, and /cluster/status

A guest that moved while it was read stays in the record it began in: its row is the later one, with the new node, and
its details have the path of the node they were read from. A guest's details are thus found by kind and id, never by
node, and what it runs on is what its row says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import REDACTED, holds_secret, names_secret
from asset_ledger.sources.pve.errors import PARSE_ERROR

MEDIA_TYPE = "application/x-pve-responses+jsonl"

# free text, cloud-init, environments: people put passwords there; nothing is derived from them
_SECRET_KEYS = frozenset(
    {"description", "args", "sshkeys", "ssh-public-keys", "cicustom", "cipassword", "env", "entrypoint", "comment"}
    | {"comments", "lxc", "ticket"}
)
# everything else here is datacenter.cfg up to 6.4, with the password of its http_proxy
_KEPT_OF = {
    "/version": frozenset({"version", "release", "repoid", "console", "keyboard"}),
    "/access/ticket": frozenset({"username", "clustername", "cap"}),
}
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `data` is None where there is none; `code` names our error where the status does not say it."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    data: Any = None
    reason: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    @property
    def ok(self) -> bool:
        """Say whether it holds data that can be read."""
        return 200 <= self.status <= 299 and not self.code

    @property
    def said(self) -> str:
        """What an answer without data says: the status, where the words do not have it, and the words."""
        return self.reason if self.code or not self.status else f"{self.status} {self.reason}".strip()


@dataclass(frozen=True, slots=True)
class Line:
    """One answer as it is written: `kept` is stored, `received` (with secrets) only hashed."""

    kept: bytes
    received: bytes


def line(response: Response, text: str | None = None) -> Line:
    """Return an answer's line. `text` is the JSON of its data as received; without, the data is written anew."""
    head: dict[str, Any] = {"path": response.path}
    if response.query:
        head["query"] = dict(response.query)
    head["status"] = response.status
    if not response.ok:
        head["reason"] = response.reason
        if response.errors:
            head["errors"] = dict(response.errors)
        if response.code:
            head["code"] = response.code
        whole = _dumped(head)
        return Line(whole, whole)
    clean = _without_secrets(response.data, _KEPT_OF.get(response.path))
    # a line's end can only stand between two values: inside of texts JSON has it escaped
    received = _dumped(response.data) if text is None else re.sub("[\r\n]", " ", text).encode("utf-8")
    start = _dumped(head)[:-1] + b',"data":'
    kept = received if clean is response.data else _dumped(clean)
    return Line(start + kept + b"}", start + received + b"}")


def record(target: str, document: Mapping[str, Any], lines: Iterable[Line], observed_at: datetime) -> RawRecord:
    """Return the raw record of these lines."""
    written = list(lines)
    body = b"".join(one.kept + b"\n" for one in written)
    digest = hashlib.sha256()
    for one in written:
        digest.update(one.received + b"\n")
    return RawRecord(
        target=target,
        media_type=MEDIA_TYPE,
        body=body,
        sha256=digest.digest(),
        document={**document, "lines": len(written)},
        observed_at=observed_at,
        redacted=any(one.kept != one.received for one in written),
    )


def read(raw: RawRecord) -> list[Response]:
    """Return the answers of a record in their order. Raises PermanentError(PVE_PARSE_ERROR) for damaged ones."""
    if raw.body and not raw.body.endswith(b"\n"):
        raise PermanentError(PARSE_ERROR, "the kept answers end in the middle of one", target=raw.target)
    texts = raw.body.split(b"\n")[:-1]
    if raw.document.get("lines") != len(texts):
        raise PermanentError(
            PARSE_ERROR, f"it has {len(texts)} kept answers and was written with others", target=raw.target
        )
    return [_response(text, number, raw.target) for number, text in enumerate(texts, start=1)]


def _response(text: bytes, number: int, target: str) -> Response:
    try:
        found = _DECODER.decode(text.decode("utf-8"))
        if b"\\u" in text and _ESCAPED.search(text):
            found = _storable(found)
        path, query, status = found["path"], found.get("query", {}), found["status"]
        reason, errors, code = found.get("reason", ""), found.get("errors", {}), found.get("code", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PermanentError(PARSE_ERROR, f"line {number} of the kept answers cannot be read", target=target) from None
    shaped = isinstance(path, str) and type(status) is int and isinstance(reason, str) and isinstance(code, str)
    if not shaped or not isinstance(query, dict) or not isinstance(errors, dict):
        raise PermanentError(PARSE_ERROR, f"line {number} of the kept answers has another shape", target=target)
    return Response(path, query, status, found.get("data"), reason, errors, code)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # one for all: making it costs as much as a short line


def _dumped(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can only hold escaped
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def _storable(value: Any) -> Any:
    """Return the value without what no database takes as text: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return value


def _without_secrets(value: Any, kept: frozenset[str] | None = None) -> Any:
    """Return the value with what may be a secret replaced, the very same one where nothing is."""
    if isinstance(value, dict):
        changed = {}
        for key, one in value.items():
            hidden = key not in kept if kept is not None else _names_secret(key, one)
            clean = REDACTED if hidden else _without_secrets(one)
            if clean is not one:
                changed[key] = clean
        return {**value, **changed} if changed else value
    if isinstance(value, list):
        cleaned = [_without_secrets(one) for one in value]
        return cleaned if any(new is not old for new, old in zip(cleaned, value, strict=True)) else value
    if isinstance(value, str) and holds_secret(value):
        return REDACTED
    return value


def _names_secret(key: str, value: Any) -> bool:
    """Say whether a key's value is never kept. In a dump of rights the keys are paths, and the values no texts."""
    return isinstance(value, str | list) and (key in _SECRET_KEYS or (isinstance(value, str) and names_secret(key)))
