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


def holds_secret(value: str) -> bool:
    """Say whether a value has the unmistakable shape of a key, a token or a URL with a password."""
    return _SECRET_VALUE.search(value) is not None or ("eyJ" in value and _JSON_TOKEN.search(value) is not None)
