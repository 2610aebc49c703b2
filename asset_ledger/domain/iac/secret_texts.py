"""Secrets that stand in texts by their names: `DB_PASS=…`, YAML, flags of a command, headers. And which names are.

No parser of each language: what looks like a name, a sign and a value is taken for it. Every step costs no more than
the text is long. Called by `redaction`, which knows what stands in a secret's place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from asset_ledger.domain.secrecy import holds_secret, names_secret

Hide = Callable[[str], str]

_MORE_VALUES = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY BLOCK-----|\b(?:al_[\w-]{32}|(?:gh[ousr]_|github_pat_)\w{12}|ASIA[A-Z0-9]{12}"
    r"|xox[a-z]-[\w-]{8}|AIza[\w-]{20}|[rs]k_(?:live|test)_\w{8}|hooks\.slack\.com/(?:services|workflows)/\w)"
)
_MORE_NAMES = re.compile(
    r"user_?data|custom_?data|sysprep|connection_?string|kube_?(admin_?)?config|credential|bootstrap"
    r"|startup_?script|init_?script|cipassword|cicustom|ssh_?keys?$|certificate_pem|\bpem\b|_pem$|authorization"
    r"|(primary|secondary|shared|account|master|storage|client|signing|product|license|encryption|decryption|hmac"
    r"|openai|auth|application|consumer|webhook|cookie|session|crypt|aes|fernet|root)_?key$"
    r"|(?<![a-z])(pw|psk|passcode)(?![a-z])|pre_?shared|^sig$|sas_?ur[li]$|\bx-[a-z-]{0,40}key$",
    re.IGNORECASE,
)
_CASED = re.compile(
    r"[a-z](?:Pass|P[wW])(?![a-z])"
    r"|^(?!(?:[A-Z0-9_]*_)?(?:PUBLIC|PARTITION|SORT|HASH|RANGE|KMS|FOREIGN|OBJECT|S3|ROUTING|CACHE|TAG|LABEL)_KEY$)"
    r"[A-Z0-9_]{1,256}_KEY$"
)
_ABOUT_SECRETS = re.compile(
    r"(?P<told>_arns?|_names?|_types?|_enabled|_polic(y|ies)|_endpoint|_path|_refs?|_on_change|token_ur[li])$"
    r"|(?P<counted>_versions?|_length|_count|_days|_hours|_minutes|_seconds|_ttl|_expir\w*|_rotation\w*|_size)$",
    re.IGNORECASE,
)
"""Names that tell of a secret without holding it: its ARN, how long it is, when it runs out."""
_COUNTED = re.compile(r"[a-z]?[0-9][0-9.:TZ+ -]{0,40}[a-z]?", re.IGNORECASE)
_HARMLESS = re.compile(
    r"(?:true|false|null|none|nil|~|\{\}|\[\]|\$\{[\w.]+\}|\$\([\w.]+\)|(?-i:\$[A-Z_]+))", re.IGNORECASE
)
"""What is no secret in a text: yes and no, nothing, and names of variables."""

_LINE = re.compile(
    r"([ \t]*+(?:(?>-[ \t]++))*+)(?:(?:export|set|ENV)[ \t]+)?[\"']?([\w./-]++)[\"']?[ \t]*+"
    r"(:(?=[ \t]|$)|=(?!=))[ \t]*(.*)",
    re.DOTALL,
)
_BLOCK = re.compile(r"(?:[|>][0-9+-]{0,2})?[ \t\r]*(?:#.*)?|[&!][\w-]+[ \t\r]*")
_SIGN = re.compile(r"(?<![\w.-])([\w.-]++)(\\{0,3}[\"']?\s{0,8}(?:=>?|：|:(?=[\s\"'\\]))\s{0,8}|:(?!:)|[ \t]{1,8})")
_VALUE = re.compile(r"\\{1,3}\"[^\"]*+\"?|\"(?:(?>[^\"\\]|\\.))*+\"?|'[^']*+'?|[^\s,;&'\"]+", re.DOTALL)
_REST = re.compile(r"\\{1,3}\"[^\"]*+\"?|\"(?:(?>[^\"\\]|\\.))*+\"?|'[^']*+'?|[^'\"\n]+", re.DOTALL)
_PASSWORD = re.compile(r"passw(or)?d|passphrase|pwd|密码|口令", re.IGNORECASE)
_BY_SHAPE = re.compile(
    r"\bBearer\s{1,8}(?=[\w.~+/-]*\d|[\w.~+/-]{20})(?P<bearer>[\w.~+/-]{6,}=*)"
    r"|\bBasic\s{1,8}(?-i:(?=[\w+/]*[A-Z0-9=]))(?P<basic>[\w+/]{6,}=*)"
    r"|(?<![\w.%+-])[\w.%+-]{1,64}+:(?P<source>[^\s@]{1,256}+)@(?:tcp|udp|unix)?\("
    r"|\bidentified\s{1,8}by\s{1,8}'(?P<sql>[^']{1,256}+)'",
    re.IGNORECASE,
)
# a password with a slash; a port is none
_URL = re.compile(r"://[^\s/:@]{1,256}+:(?!\d{1,5}(?:[/?#\s]|$))[^\s@\"'<>]{1,256}+@")
_MANIFEST = re.compile(r"^[ \t]*(?:-[ \t]+)?kind:[ \t]*[\"']?Secret[\"']?[ \t\r]*$", re.MULTILINE)
_NAMED = frozenset(
    ("name", "key", "parameterkey", "parametername", "variable", "variablename", "option", "env", "header")
)
_VALUED = frozenset(("value", "values", "val", "parametervalue", "stringvalue", "default", "defaultvalue", "plaintext"))


def shows_secret(value: str) -> bool:
    """Say whether a text has the unmistakable shape of a secret in it: those of every source, and more prefixes."""
    return len(value) >= 5 and (holds_secret(value) or _MORE_VALUES.search(value) is not None)


def called_secret(name: str) -> bool:
    """Say whether what is called so is secret, whatever it is."""
    return _about(name) is False


def hides(name: str, value: Any) -> bool:
    """Say whether a value of that name is secret. `password_version` is none where a number stands there."""
    about = _about(name)
    return about is False or (about is True and isinstance(value, str) and _COUNTED.fullmatch(value) is None)


def named_in_pair(name: str) -> bool:
    """Say whether under that name stands what another value is called."""
    return len(name) <= 20 and name.replace("_", "").lower() in _NAMED


def valued_in_pair(name: str) -> bool:
    """Say whether under that name stands the value of a pair."""
    return len(name) <= 20 and name.replace("_", "").lower() in _VALUED


def scanned(text: str, hide: Hide) -> str | None:
    """Return a text with every secret in it replaced by what `hide` makes of it; None where all of it is."""
    if _MANIFEST.search(text) or ("://" in text and _URL.search(text)):
        return None
    if not any(sign in text for sign in ("=", ":", " ", "\t", "：")):
        return text
    lines = text.split("\n") if "\n" in text else [text]
    said: list[str] = []
    under: int | None = None  # the indent of a secret name: what stands deeper is its value
    block: list[str] = []
    pair = False

    def ended() -> None:
        if block:
            whole = "\n".join(block)
            first = block[0]
            kept = hide(whole.strip())
            said.extend(block if kept == whole.strip() else [first[: len(first) - len(first.lstrip())] + kept])
            block.clear()

    for line in lines:
        if not line and under is None:
            said.append(line)
            continue
        indent = len(line) - len(line.lstrip())
        if under is not None:
            if not line.strip() or indent > under or (indent == under and line.lstrip().startswith("- ")):
                block.append(line)
                continue
            under = None
            ended()
        if found := _LINE.fullmatch(line):
            lead, name, sign, rest = found.groups()
            if hides(name, rest.strip().strip("\"'")) or (pair and valued_in_pair(name)):
                pair = False
                if sign == ":" and len(lines) > 1:
                    # deeper lines go on with the value, on this line or the next
                    under = len(lead) if _BLOCK.fullmatch(rest) or rest[:1] not in ("'", '"') else indent
                    under = min(under, len(lead))
                if sign == ":" and _BLOCK.fullmatch(rest):
                    said.append(line)
                else:
                    said.append(line[: found.start(4)] + _kept(rest, hide))
                continue
            pair = (named_in_pair(name) and called_secret(rest.strip().strip("\"'"))) or (
                pair and not lead.lstrip().startswith("-")
            )
        said.append(_within(line, hide))
    ended()
    return "\n".join(said)


def _within(line: str, hide: Hide) -> str:
    """Return a line without the secrets that stand anywhere in it."""
    said: list[str] = []
    at = 0
    for found in _SIGN.finditer(line):
        if found.start() < at:
            continue
        name, sign = found[1], found[2]
        if sign.isspace():
            if not name.startswith("-"):
                continue
        elif sign == ":" and not (
            _PASSWORD.search(name[-64:]) and line[found.start() - 1 : found.start()] not in (":", "/")
        ):
            continue
        name = name.lstrip("-")
        if _about(name) is None:  # before its value is read: many names must not read the rest of the line each
            continue
        value = (_REST if ":" in sign and sign != ":" else _VALUE).match(line, found.end())
        if value is None or not hides(name, value[0].strip("\"'\\")) or (sign.isspace() and value[0].startswith("-")):
            continue
        said += [line[at : value.start()], _kept(value[0], hide)]
        at = value.end()
    line = "".join([*said, line[at:]]) if said else line
    return _BY_SHAPE.sub(lambda found: _shaped(found, hide), line)


def _shaped(found: re.Match[str], hide: Hide) -> str:
    name = found.lastgroup or ""
    start, end = found.start(name) - found.start(), found.end(name) - found.start()
    return found[0][:start] + hide(found[name]) + found[0][end:]


def _kept(value: str, hide: Hide) -> str:
    """Return what stands for a value, in the quotes that it has."""
    told = value.rstrip()
    rest = value[len(told) :]
    quote = _quote(told)
    inner = told[len(quote) : -len(quote) if quote and told.endswith(quote) and len(told) >= 2 * len(quote) else None]
    if not inner or _HARMLESS.fullmatch(inner):
        return value
    return f"{quote}{hide(inner)}{told[len(quote) + len(inner) :]}{rest}"


def _quote(told: str) -> str:
    found = re.match(r"\\{0,3}[\"']", told)
    return found[0] if found else ""


def _about(name: str) -> bool | None:
    """Return False for the name of a secret, True for one that counts something of it, None for every other."""
    # a name is told by its ends, and must cost little however long it is
    return _judged(name if len(name) <= 256 else name[:128] + name[-128:])


@lru_cache(maxsize=16_384)
def _judged(name: str) -> bool | None:
    if not (names_secret(name) or _MORE_NAMES.search(name) or _CASED.search(name)):
        return None
    about = _ABOUT_SECRETS.search(name.replace("-", "_"))
    if about is None:
        return False
    return True if about["counted"] is not None else None
