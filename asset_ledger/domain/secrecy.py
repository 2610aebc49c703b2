"""What looks like a secret, and what stands in its place. Used before anything is stored or logged."""

from __future__ import annotations

import re
from functools import lru_cache

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(passw(or)?d|passphrase|pwd|secret|token|private[_\- ]?key|api[_\- ]?key|access[_\- ]?key"
    r"|community|(?<![a-z])pass(?![a-z])|密码|口令|密钥|私钥|令牌)",
    re.IGNORECASE,
)
# every repetition is bounded: a crafted cell must not cost quadratic time
_SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:hvs|ghp|glpat|AKIA|LTAI)[\w.-]{12}"
    r"|://[^\s/:@]{0,256}:[^\s/@]{1,256}@"  # a URL with a password in it
)
# begun once in every run of such characters: each further `eyJ` in it would cost the run again
_JSON_TOKEN = re.compile(r"(?<![\w-])(?:[\w-]{0,63}-)?eyJ[\w-]{8,2048}\.[\w-]{8,4096}\.[\w-]{4}")


@lru_cache(maxsize=4096)
def names_secret(name: str) -> bool:
    """Say whether a field of this name would hold a secret. `credential_ref` only refers to one."""
    return name.strip().lower() != "credential_ref" and _SECRET_NAME.search(name) is not None


def mentions_secret(text: str) -> bool:
    """Say whether anything in a text, a name or a value, may look like a secret: if not, nothing in it does."""
    return (_may_name(text) and _SECRET_NAME.search(text) is not None) or holds_secret(text)


def holds_secret(value: str) -> bool:
    """Say whether a value has the unmistakable shape of a key, a token or a URL with a password."""
    # looking for what each begins with is many times quicker than for what it is, and mostly there is nothing
    return (
        (
            ("://" in value or "AKIA" in value or "LTAI" in value or "-----BEGIN " in value)
            or ("hvs" in value or "ghp" in value or "glpat" in value)
        )
        and _SECRET_VALUE.search(value) is not None
    ) or ("eyJ" in value and _JSON_TOKEN.search(value) is not None)


def _may_name(text: str) -> bool:
    """Say whether a part of such a name is in a text."""
    if not text.isascii():  # other letters match in ways that only the expression knows
        return True
    lowered = text.lower()
    return ("pass" in lowered or "pwd" in lowered or "secret" in lowered) or (
        "token" in lowered or "key" in lowered or "community" in lowered
    )
