"""A report as it may be stored: as received, but for what looks like a secret.

Of all that a machine says of itself only its facts are wanted; what an agent adds of its own may hold anything. Used
where a report is taken in, and where it becomes raw of the ledger.
"""

from __future__ import annotations

import json
from typing import Any

from asset_ledger.domain.secrecy import REDACTED, holds_secret, mentions_secret, names_secret


def without_secrets(body: bytes) -> tuple[bytes, bool]:
    """Return a body that may be stored, and whether anything was taken out of it: mostly it is the body itself."""
    # most hold nothing of the kind, which a look at the whole tells; what is written with escapes is looked into
    if b"\\" not in body and not mentions_secret(body.decode("utf-8", "replace")):
        return body, False
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        # it gives no machine as it is; what cannot be looked into is not kept where it may hold something
        return (b"", True) if holds_secret(body.decode("utf-8", "replace")) else (body, False)
    shown = _shown(document)
    return (body, False) if shown == document else (json.dumps(shown, ensure_ascii=False).encode(), True)


def _shown(value: Any) -> Any:
    match value:
        case dict():
            return {name: _named(name, inner) for name, inner in value.items()}
        case list():
            return [_shown(inner) for inner in value]
        case str():
            return REDACTED if holds_secret(value) else _options(value)
        case _:
            return value


def _named(name: str, value: Any) -> Any:
    return REDACTED if names_secret(name) and value not in (None, "", [], {}) else _shown(value)


def _options(text: str) -> str:
    """Return mount options (`rw,username=x,password=y`) without the values of those that are named like a secret."""
    if "=" not in text:
        return text
    parts = (part.partition("=") for part in text.split(","))
    return ",".join(f"{name}{sign}{REDACTED if sign and names_secret(name) else said}" for name, sign, said in parts)
