"""What of an answer is never kept: values that look like secrets, and those of names that would hold one. Pure.

Called by `raw` for every answer, so nearly all of it is a quick look at the bytes: only where that finds something is
each value looked at.
"""

from __future__ import annotations

import operator
import re
from functools import lru_cache
from typing import Any

from asset_ledger.domain.secrecy import REDACTED, holds_secret, names_secret

# free text that people put passwords into; nothing is derived from it
_FREE_TEXTS = frozenset({"Description", "UserData"})
# called tokens, and none that opens anything
_NO_SECRETS = frozenset({"NextToken", "HttpTokens"})
_HOLDERS = frozenset({dict, list})

# what every value that looks like a secret has in it, here or at the beginning of a word
_MARKS = (b"PRIVATE KEY-----", b"@")
_BEGINNINGS = {mark: re.compile(rb"\b" + mark) for mark in (b"eyJ", b"hvs", b"ghp", b"glpat", b"AKIA", b"LTAI")}
# what every name that would hold a secret has in it, in small letters and without these
_IN_NONE = b' _-.:;/"{}[]0123456789'
_NAMES = (b"pass", b"pwd", b"secret", b"privatekey", b"apikey", b"accesskey", b"community")
# the same of what is not ASCII, and the letters that are taken for an s, a k and an i
_FOREIGN = tuple(one.encode() for one in ("密码", "口令", "密钥", "私钥", "令牌", *"\u017f\u212a\u0130\u0131"))
_ASCII = bytes(range(128))
# free text, and how it looks where there is none
_EMPTY = tuple((f'{name}"'.encode(), (f'{name}":""'.encode(), f'{name}": ""'.encode())) for name in sorted(_FREE_TEXTS))


def without_secrets(value: Any, written: bytes | None = None) -> Any:
    """Return a JSON value with what may be a secret replaced, the very same one where nothing is.

    `written` is the JSON it was read from, which tells most values at once that nothing is in them.
    """
    named, marked = (True, True) if written is None else _hints(written)
    return _cleaned(value, marked) if named or marked else value


def _hints(written: bytes) -> tuple[bool, bool]:
    """Say of a JSON text whether it may have a name that would hold a secret, and a value that looks like one.

    It may say yes where there is none, never no where there is one.
    """
    if b"\\" in written:
        return True, True  # what is escaped may be anything
    # The rows of a page are much alike: what stands between two commas is looked at once, however often it comes,
    # without what is in nothing that is looked for. Nothing that is has a comma in it.
    text = b",".join(set(written.split(b",")))
    thin = text.translate(None, _IN_NONE)
    small = thin.lower()
    foreign = text.translate(None, _ASCII)
    marked = any(mark in text for mark in _MARKS)
    marked = marked or any(mark in thin and word.search(text) is not None for mark, word in _BEGINNINGS.items())
    named = (
        any(name in small for name in _NAMES)
        or small.count(b"token") != sum(text.count(f'"{name}":'.encode()) for name in _NO_SECRETS)
        or any(text.count(said) != sum(map(text.count, nothing)) for said, nothing in _EMPTY)
        or any(one in foreign for one in _FOREIGN)
    )
    return named, marked


@lru_cache(maxsize=4096)
def _shape(keys: tuple[str, ...]) -> tuple[frozenset[str], bool]:
    """Return which of an object's keys have values that are never kept, and whether it is a tag.

    A page has few shapes, again and again.
    """
    hidden = (key for key in keys if key in _FREE_TEXTS or (names_secret(key) and key not in _NO_SECRETS))
    return frozenset(hidden), "TagKey" in keys or "Key" in keys


def _cleaned(value: Any, marked: bool) -> Any:
    """Return the value with what may be a secret replaced, the very same one where nothing is.

    `marked`: some value of the page may look like a secret; else texts need not be looked at.
    """
    if isinstance(value, list):
        cleaned = [_cleaned(one, marked) if marked or one.__class__ in _HOLDERS else one for one in value]
        return cleaned if any(map(operator.is_not, cleaned, value)) else value
    if not isinstance(value, dict):
        return REDACTED if marked and isinstance(value, str) and holds_secret(value) else value
    hidden, tag = _shape(tuple(value))
    changed: dict[str, Any] = {key: REDACTED for key in hidden if value[key]}
    for key, one in value.items():
        # most values are plain, and this is where a large reading spends its time
        if one and (marked or one.__class__ in _HOLDERS) and key not in hidden and key not in _NO_SECRETS:
            clean = _cleaned(one, marked)
            if clean is not one:
                changed[key] = clean
    if tag:
        # one that is called password: its value
        called = value.get("TagKey") or value.get("Key")
        for name in ("TagValue", "Value"):
            if isinstance(called, str) and value.get(name) and names_secret(called):
                changed[name] = REDACTED
    return {**value, **changed} if changed else value
