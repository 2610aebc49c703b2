"""From the text of one cell to its value: one function a kind of cell, each with a reason a person understands.

Pure and without pydantic models: `rows.py` says which column uses which. A cell that cannot be taken raises
`PydanticCustomError` whose type is the IMPORT_* code.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from ipaddress import ip_interface
from typing import Any, NoReturn

from pydantic_core import PydanticCustomError

from asset_ledger.domain.addresses import identifies_machine, normal_mac, parse_address
from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.secrecy import REDACTED, holds_secret, names_secret
from asset_ledger.sources.import_files import errors

LARGEST = 2**63 - 1
_MAX_TEXT = 1024
_MAX_JSON_TEXT = 32_767  # what an Excel cell can hold
_MAX_JSON_DEPTH = 20
_MAX_JSON_DIGITS = 4_000  # Python reads 4,300
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}", re.ASCII)
# Every address beginning with one of these may identify a machine, so the full rule need not be asked:
# 0, 127, 169 and 224-255 hold the ranges that may not. A test compares the two over all first octets.
_CLEAR_OCTETS = frozenset(str(octet) for octet in range(1, 224)) - {"127", "169"}
_LEADING_ZERO = re.compile(r"(?:^|\.)0+(?=\d)")
_DIGITS = re.compile(r"\d{1,19}(?:\.0+)?", re.ASCII)
_DECIMAL = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_SCIENTIFIC = re.compile(r"[\d.]+[eE]\+\d+")
_SEPARATORS = re.compile(r"[;,；，、\s]+")
_CREDENTIAL = re.compile(r"(?:env|file|vault):\S+")
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"))
_ADDRESS_MARKS = {ord("。"): ".", ord("｡"): "."}


def reject(code: ErrorCode, reason: str) -> NoReturn:
    """Refuse the cell at hand."""
    raise PydanticCustomError(code.code, "{reason}", {"reason": reason})


def without_invisible(text: str) -> str:
    """Return text without byte-order marks, zero-width and direction marks, and with plain blank space, stripped."""
    return text.translate(_INVISIBLE).replace("\u00a0", " ").strip()


def plain(text: str) -> str:
    """Return text in its compatible half-width form: what a person meant who typed `１０．０．０．５`."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text).translate(_INVISIBLE).strip()


def address(text: str) -> str:
    """Return the canonical text of an address that may identify a machine."""
    if _IPV4.fullmatch(text) and text.partition(".")[0] in _CLEAR_OCTETS:
        return text
    found = any_address(text)
    parsed = parse_address(found)
    if parsed is None or not identifies_machine(parsed):
        reject(
            errors.ADDRESS_UNUSABLE,
            f"{found} is loopback, link-local, multicast or reserved and so stands on many machines",
        )
    return found


def any_address(text: str) -> str:
    """Return the canonical text of any IP address; a prefix length behind a host address is dropped."""
    if _IPV4.fullmatch(text):
        return text
    bare = plain(text).translate(_ADDRESS_MARKS).replace(" ", "").strip("[]")
    parsed = parse_address(bare)
    if parsed is None:
        _explain_address(text, bare)
    if "/" in bare:
        try:
            interface = ip_interface(bare.split("%", 1)[0] if "%" in bare else bare)
        except ValueError:
            reject(errors.ADDRESS_INVALID, f"'{_shown(text)}' is no address: its prefix length is wrong")
        host_bits = interface.network.max_prefixlen - interface.network.prefixlen
        if host_bits > 1 and interface.ip == interface.network.network_address:
            reject(errors.ADDRESS_INVALID, f"'{_shown(text)}' is a network: write the address of the machine")
    return str(parsed)


def _explain_address(text: str, bare: str) -> NoReturn:
    without_zeros = _LEADING_ZERO.sub(lambda match: match.group()[:1] if match.group()[0] == "." else "", bare)
    if without_zeros != bare and parse_address(without_zeros) is not None:
        reject(errors.ADDRESS_INVALID, f"'{_shown(text)}' has a leading zero: write {without_zeros.split('/')[0]}")
    if _SCIENTIFIC.fullmatch(bare):
        reject(errors.ADDRESS_INVALID, f"'{_shown(text)}' was shortened by a spreadsheet: format the column as text")
    if _SEPARATORS.search(text.strip()):
        reject(errors.ADDRESS_INVALID, f"'{_shown(text)}' is more than one address: write one here")
    reject(errors.ADDRESS_INVALID, f"'{_shown(text)}' is no IP address")


def _shown(text: str) -> str:
    """Return at most 80 characters of a cell for a reason, never a secret."""
    if holds_secret(text):
        return REDACTED
    return text if len(text) <= 80 else f"{text[:77]}..."


def split_list(text: str) -> list[str]:
    """Return the parts of a cell that lists several things, each once, in order."""
    return list(dict.fromkeys(part for part in _SEPARATORS.split(text) if part))


def addresses(text: str) -> list[str]:
    """Return every address of a list."""
    return list(dict.fromkeys(any_address(part) for part in split_list(text)))


def macs(text: str) -> list[str]:
    """Return every MAC address of a list in lower case with colons."""
    found = []
    for part in split_list(plain(text)):
        mac = normal_mac(part) if re.fullmatch(r"[0-9A-Fa-f:.\-]{12,17}", part) else None
        if mac is None:
            reject(errors.ADDRESS_INVALID, f"'{_shown(part)}' is no MAC address of one machine")
        found.append(mac)
    return list(dict.fromkeys(found))


def hostname(text: str) -> str:
    """Return a host name: 1 to 253 characters, any script, no blank space."""
    if len(text) > 253:
        reject(errors.HOSTNAME_INVALID, f"{len(text)} characters are too many: a host name has at most 253")
    if any(map(str.isspace, text)):
        reject(errors.HOSTNAME_INVALID, f"'{_shown(text)}' has blank space in it")
    if not text.isprintable():
        # spelled out: shown as it is it would not be seen, or turn the text around it
        shown = _shown("".join(each if each.isprintable() else f"U+{ord(each):04X}" for each in text))
        reject(errors.HOSTNAME_INVALID, f"'{shown}' has a character in it that nobody can see: type it anew")
    if _SCIENTIFIC.fullmatch(text):
        reject(errors.HOSTNAME_INVALID, f"'{text}' was shortened by a spreadsheet: format the column as text")
    return text


def instance_host(text: str) -> str:
    """Return the host of a database instance: an address in its canonical text, or a host name in lower case."""
    found = parse_address(plain(text))
    if found is not None:
        return str(found)
    name = hostname(text)
    if ":" in name:
        reject(errors.HOSTNAME_INVALID, f"'{_shown(name)}' has a colon: write the port in the column port")
    return name.lower()


def text_up_to(limit: int = _MAX_TEXT) -> Callable[[str], str]:
    """Return a reader of free text of at most `limit` characters."""

    def read(text: str) -> str:
        if len(text) > limit:
            reject(errors.TEXT_INVALID, f"{len(text)} characters are too many: the column holds at most {limit}")
        return text

    return read


def serial(text: str) -> str:
    """Return a serial number as written."""
    if _SCIENTIFIC.fullmatch(text):
        reject(errors.EXCEL_VALUE, f"'{text}' was shortened by a spreadsheet, digits are lost")
    return text_up_to()(text)


def os_family(text: str) -> str:
    """Return the family in lower case: `Linux` and `linux` are one."""
    return text_up_to()(text.lower())


def choice(words: dict[str, str]) -> Callable[[str], str]:
    """Return a reader that turns each word of `words` (lower case) into its value."""
    allowed = ", ".join(dict.fromkeys(words.values()))

    def read(text: str) -> str:
        found = words.get(text) or words.get(plain(text).casefold())
        if found is None:
            reject(errors.CHOICE_INVALID, f"'{_shown(text)}' is not one of: {allowed}")
        return found

    return read


def whole(smallest: int, largest: int) -> Callable[[str], int]:
    """Return a reader of a whole number within bounds; `8.0` is 8."""

    def read(text: str) -> int:
        digits = plain(text)
        if re.fullmatch(r"-\d+|\d{20,}", digits, re.ASCII):
            reject(errors.NUMBER_INVALID, f"{_shown(digits)} is not between {smallest} and {largest}")
        if not _DIGITS.fullmatch(digits):
            _explain_number(text, digits, "a whole number")
        value = int(digits.partition(".")[0])
        if not smallest <= value <= largest:
            hint = "; leave the cell blank where it is not known" if value == 0 else ""
            reject(errors.NUMBER_INVALID, f"{value} is not between {smallest} and {largest}{hint}")
        return value

    return read


def scaled(factor: int, unit: str) -> Callable[[str], int]:
    """Return a reader of a size in `unit` (of `factor` bytes) that gives exact bytes."""

    def read(text: str) -> int:
        digits = plain(text)
        if not _DECIMAL.fullmatch(digits):
            _explain_number(text, digits, f"a number of {unit}")
        try:
            size = Decimal(digits) * factor
        except InvalidOperation:
            reject(errors.NUMBER_INVALID, f"'{_shown(text)}' is no number of {unit}")
        if size != size.to_integral_value():
            reject(errors.NUMBER_INVALID, f"{digits} {unit} is no whole number of bytes")
        if not 1 <= size <= LARGEST:
            reject(errors.NUMBER_INVALID, f"{digits} {unit} is no size; leave the cell blank where it is not known")
        return int(size)

    return read


def _explain_number(text: str, digits: str, kind: str) -> NoReturn:
    if _SCIENTIFIC.fullmatch(digits):
        reject(errors.NUMBER_INVALID, f"'{_shown(text)}' was shortened by a spreadsheet: write all digits")
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+", digits):
        reject(errors.NUMBER_INVALID, f"'{_shown(text)}' has thousands separators: write {digits.replace(',', '')}")
    reject(errors.NUMBER_INVALID, f"'{_shown(text)}' is not {kind}")


def tags(text: str) -> list[str]:
    """Return the tags, each once, in order."""
    found = split_list(text)
    for tag in found:
        if len(tag) > 64:
            reject(errors.TAG_INVALID, f"the tag '{_shown(tag)}' has {len(tag)} characters, at most 64 are allowed")
    return found


def is_credential_ref(text: str) -> bool:
    """Say whether a text names a credential instead of being one."""
    return _CREDENTIAL.fullmatch(text) is not None and not holds_secret(text)


def credential_ref(text: str) -> str:
    """Return a reference to a credential. The reason never repeats the cell."""
    if not is_credential_ref(text):
        reject(errors.CREDENTIAL_INVALID, "this is no reference such as env:NAME, file:NAME or vault:PATH")
    return text_up_to()(text)


def custom_fields(text: str) -> dict[str, Any]:
    """Return the JSON object of a cell. The reasons never repeat its values."""
    if text == REDACTED or json_holds_secret(text):
        reject(errors.SECRET_VALUE, "custom_fields holds what looks like a password, key or token")
    if len(text) > _MAX_JSON_TEXT:
        reject(errors.CUSTOM_FIELDS_INVALID, f"{len(text)} characters are too many: at most {_MAX_JSON_TEXT}")
    try:
        value = _load(text)
    except RecursionError:
        reject(errors.CUSTOM_FIELDS_INVALID, "the JSON is nested too deeply")
    except json.JSONDecodeError as error:
        reject(errors.CUSTOM_FIELDS_INVALID, f"this is no JSON: {error.msg} at character {error.pos + 1}")
    except ValueError as error:
        reject(errors.CUSTOM_FIELDS_INVALID, f"this JSON cannot be kept: {error}")
    if not isinstance(value, dict):
        reject(errors.CUSTOM_FIELDS_INVALID, "this is JSON but no object: write {...}")
    _check_json(value, 1)
    return value


def json_holds_secret(text: str) -> bool:
    """Say whether a custom_fields cell names or holds a secret, even where it is no valid JSON."""
    if holds_secret(text):
        return True
    suspicious = names_secret(text)
    if not suspicious and "\\" not in text:
        return False
    try:
        return _names_secret_within(json.loads(text))
    except (ValueError, RecursionError):
        return suspicious


def _names_secret_within(value: Any) -> bool:
    if isinstance(value, dict):
        return any(names_secret(key) or _names_secret_within(inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(map(_names_secret_within, value))
    return isinstance(value, str) and holds_secret(value)


def _load(text: str) -> Any:
    return json.loads(
        text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _whole(text: str) -> int:
    if len(text) > _MAX_JSON_DIGITS:
        raise ValueError(f"a number has more than {_MAX_JSON_DIGITS:,} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _check_json(value: Any, depth: int) -> None:
    if depth > _MAX_JSON_DEPTH:
        reject(errors.CUSTOM_FIELDS_INVALID, f"the JSON is nested deeper than {_MAX_JSON_DEPTH} levels")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_json(key, depth)
            _check_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_json(inner, depth + 1)
    elif isinstance(value, str) and ("\x00" in value or not _is_text(value)):
        reject(errors.CUSTOM_FIELDS_INVALID, "the JSON holds a character that is no text")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
