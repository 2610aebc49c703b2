"""The shapes of raw of Hyper-V: a node's answers, and the evidence of a reading. Pure.

`collector` makes both, `parse` reads them; `document["part"]` says which:

    node      one a host: every answer with details that it gave in this reading, one JSON line each, in their order
    survey    last, or first where the reading failed: the evidence, which the proof is made of

`document["elsewhere"]` of a node names, by id, the node that has a machine which this node's answers show too. Of a
machine in several answers of one node the last counts: what was seen while machines moved is all kept, and told once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import REDACTED, holds_secret
from asset_ledger.sources.hyperv.answers import Answer, damaged, read_answer
from asset_ledger.sources.hyperv.evidence import Evidence, evidence_in, told_of
from asset_ledger.sources.hyperv.script import DETAILED
from asset_ledger.sources.hyperv.values import guid, node_name

NODE = "node"
SURVEY = "survey"
MEDIA_TYPE = "application/x-hyperv-answers+jsonl"
SURVEY_MEDIA_TYPE = "application/json"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def node_record(
    node: str,
    answers: Sequence[Answer],
    *,
    elsewhere: Mapping[str, str],
    address: str,
    document: Mapping[str, Any],
    observed_at: datetime,
) -> RawRecord:
    """Return the raw record of a node: its answers with details, and what of them another node has."""
    kept, received, redacted = [], hashlib.sha256(), False
    for answer in answers:
        line = answer.text.replace(b"\r", b" ").replace(b"\n", b" ")
        received.update(line + b"\n")
        clear = _redacted(line)
        redacted = redacted or clear is not line
        kept.append(clear + b"\n")
    return RawRecord(
        target=node,
        media_type=MEDIA_TYPE,
        body=b"".join(kept),
        sha256=received.digest(),
        document={
            **document,
            "part": NODE,
            "node": node,
            "address": address,
            "answers": len(kept),
            "elsewhere": dict(sorted(elsewhere.items())),
        },
        observed_at=observed_at,
        redacted=redacted,
    )


def survey_record(target: str, evidence: Evidence, *, document: Mapping[str, Any], observed_at: datetime) -> RawRecord:
    """Return the raw record of a reading's evidence."""
    text = json.dumps(told_of(evidence), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    received = _UNSTORABLE.sub("\ufffd", text).encode()
    body = _redacted(received)
    return RawRecord(
        target=target,
        media_type=SURVEY_MEDIA_TYPE,
        body=body,
        sha256=hashlib.sha256(received).digest(),
        document={**document, "part": SURVEY},
        observed_at=observed_at,
        redacted=body is not received,
    )


def read_node(raw: RawRecord) -> tuple[str, list[Answer], dict[str, str]]:
    """Return a node's name, its answers in their order, and what of them is elsewhere. Raises PermanentError."""
    node = node_name(raw.document.get("node"))
    elsewhere = raw.document.get("elsewhere")
    if not node or not isinstance(elsewhere, dict) or not all(isinstance(one, str) for one in elsewhere.values()):
        raise damaged("it does not say of which node it is, and what is elsewhere", raw.target)
    if not raw.body.endswith(b"\n"):
        raise damaged("the kept answers end in the middle of one", raw.target)
    texts = raw.body.split(b"\n")[:-1]
    if raw.document.get("answers") != len(texts):
        raise damaged(f"it has {len(texts)} kept answers and was written with others", raw.target)
    answers = [read_answer(text, raw.target) for text in texts]
    for answer in answers:
        if answer.name != node or not answer.ok or answer.ask not in DETAILED:
            raise damaged(f"an answer is not of {node}, or shows no virtual machines", raw.target)
    return node, answers, {guid(key) or "": node_name(value) for key, value in elsewhere.items()}


def read_evidence(raw: RawRecord) -> Evidence:
    """Return the evidence of a reading. Raises PermanentError(HYPERV_PARSE_ERROR) where it is damaged."""
    return evidence_in(raw.body, raw.target)


def _redacted(text: bytes) -> bytes:
    """Return the JSON with values that are secrets by their shape replaced; the very same bytes where none is."""
    if not holds_secret(text.decode("utf-8", "replace")):
        return text
    clear = _without_secrets(json.loads(text))
    return json.dumps(clear, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return REDACTED if holds_secret(value) else value
    if isinstance(value, dict):
        return {key: _without_secrets(one) for key, one in value.items()}
    return [_without_secrets(one) for one in value] if isinstance(value, list) else value
