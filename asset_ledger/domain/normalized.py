"""normalized-v1: the one shape in which every source describes a machine.

The schema is `normalized-v1.schema.json` beside this file. Parsers build documents, the store
validates each one that it has not seen before; nobody else writes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from asset_ledger.domain.errors import SCHEMA_VALIDATION_FAILED, PermanentError

SCHEMA_NAME = "normalized-v1"
NOT_REPORTED = "NOT_REPORTED"
"""The reason for a field that this source could carry but this record does not."""
SHOWN_PROBLEMS = 10

Document = dict[str, Any]


@cache
def schema() -> Document:
    """Return the JSON Schema as data."""
    text = Path(__file__).with_name("normalized-v1.schema.json").read_text(encoding="utf-8")
    loaded: Document = json.loads(text)
    return loaded


@cache
def _validator() -> Any:
    import jsonschema_rs

    # without the mask a message would quote the value that is wrong
    return jsonschema_rs.validator_for(schema(), mask="the value")


def validate(document: Mapping[str, Any], *, target: str) -> None:
    """Raise PermanentError(SCHEMA_VALIDATION_FAILED) naming the fields of `document` that are wrong, up to ten."""
    validator = _validator()
    if validator.is_valid(document):
        return
    problems = [
        f"{'.'.join(str(part) for part in error.instance_path) or 'document'}: {error.message}"
        for error in validator.iter_errors(document)
    ]
    more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    raise PermanentError(SCHEMA_VALIDATION_FAILED, "; ".join(problems[:SHOWN_PROBLEMS]) + more, target=target)


def canonical_json(document: Mapping[str, Any]) -> str:
    """Return the one JSON text of a document: keys sorted, no spaces, characters unescaped."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(canonical: str) -> bytes:
    """Return the 16-byte BLAKE2b digest of a canonical text."""
    return hashlib.blake2b(canonical.encode(), digest_size=16).digest()
