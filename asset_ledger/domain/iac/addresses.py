"""Addresses of Terraform's resources and modules, read by a tokenizer: instance keys hold dots, quotes and brackets.

    module.app["eu/1"].data.aws_subnet.a[0]

Terraform quotes string keys as HCL does: backslash escapes, also for what no screen shows, and `$${` and `%%{` for what
would be a template.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Key = int | str | None
Mode = Literal["managed", "data"]

_NAME = re.compile(r"[^\W\d][\w-]*|_[\w-]*")
_NUMBER = re.compile(r"-?[0-9]{1,4000}")  # more digits Python does not read
_PLAIN = re.compile(r"[\w /.:@-]*", re.ASCII)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_QUOTED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


class AddressError(ValueError):
    """Text that is no address: what was expected, and where."""


@dataclass(frozen=True, slots=True)
class Module:
    """One step of the path to a module, with its instance key."""

    name: str
    key: Key = None

    def __str__(self) -> str:
        return f"module.{self.name}{bracketed(self.key)}"


@dataclass(frozen=True, slots=True)
class Address:
    """A resource, or with `key` one instance of it."""

    modules: tuple[Module, ...]
    mode: Mode
    type: str
    name: str
    key: Key = None

    def __str__(self) -> str:
        steps = [str(module) for module in self.modules]
        steps += ["data"] if self.mode == "data" else []
        return ".".join([*steps, self.type, f"{self.name}{bracketed(self.key)}"])

    @property
    def config(self) -> str:
        """The address in the configuration: without any instance key."""
        steps = [f"module.{module.name}" for module in self.modules]
        steps += ["data"] if self.mode == "data" else []
        return ".".join([*steps, self.type, self.name])


@lru_cache(maxsize=4096)
def module_path(text: str) -> tuple[Module, ...]:
    """Return the path that a state's `module` names. Raises AddressError."""
    reader = _Reader(text)
    modules = reader.modules()
    reader.ends()
    return modules


def address(text: str) -> Address:
    """Return the address that a text names, with or without instance keys. Raises AddressError."""
    reader = _Reader(text)
    modules = reader.modules(more=True)
    mode: Mode = "managed"
    first = reader.name()
    reader.sign(".")
    second = reader.name()
    if first == "data" and reader.takes("."):
        mode, first, second = "data", second, reader.name()
    found = Address(modules, mode, first, second, reader.key())
    reader.ends()
    return found


def bracketed(key: Key) -> str:
    """Return an instance key as it stands in an address; nothing where there is none."""
    if key is None:
        return ""
    if isinstance(key, int):
        return f"[{key}]"
    if _PLAIN.fullmatch(key):
        return f'["{key}"]'
    inner = "".join(map(_written, key)).replace("${", "$${").replace("%{", "%%{")
    return f'["{inner}"]'


def _written(sign: str) -> str:
    if sign.isprintable() and sign not in _QUOTED:
        return sign
    if "\ud800" <= sign <= "\udfff":  # half of a pair: Terraform itself reads the replacement character
        return "\ufffd"
    return _QUOTED.get(sign) or (f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}")


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def modules(self, *, more: bool = False) -> tuple[Module, ...]:
        """Return the modules at the head; with `more` something must follow them."""
        found: list[Module] = []
        while self._text.startswith("module.", self._at):
            self._at += len("module.")
            found.append(Module(self.name(), self.key()))
            if not self.takes("."):
                if more:
                    raise self._wrong("a resource's type")
                break
        return tuple(found)

    def name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._wrong("a name")
        self._at = found.end()
        return found.group()

    def key(self) -> Key:
        if not self.takes("["):
            return None
        number = _NUMBER.match(self._text, self._at)
        if number is not None:
            self._at = number.end()
            found: Key = int(number.group())
        else:
            self.sign('"')
            found = self._quoted()
        self.sign("]")
        return found

    def _quoted(self) -> str:
        said: list[str] = []
        while self._at < len(self._text):
            sign = self._text[self._at]
            self._at += 1
            if sign == '"':
                return "".join(said)
            if sign == "\\":
                said.append(self._escaped())
            else:
                # before a brace a template sign is written twice
                if sign in "$%" and self._text.startswith(f"{sign}{{", self._at):
                    self._at += 1
                said.append(sign)
        raise self._wrong("the end of a quoted key")

    def _escaped(self) -> str:
        sign = self._text[self._at : self._at + 1]
        self._at += 1
        if sign in _ESCAPES and sign:
            return _ESCAPES[sign]
        size = {"u": 4, "U": 8}.get(sign)
        digits = self._text[self._at : self._at + (size or 0)]
        if size is None or len(digits) != size or re.fullmatch(r"[0-9a-fA-F]+", digits) is None:
            raise self._wrong("an escape of HCL")
        self._at += size
        point = int(digits, 16)
        if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            raise self._wrong("a character")
        return chr(point)

    def takes(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def sign(self, sign: str) -> None:
        if not self.takes(sign):
            raise self._wrong(f"`{sign}`")

    def ends(self) -> None:
        if self._at != len(self._text):
            raise self._wrong("the end")

    def _wrong(self, expected: str) -> AddressError:
        return AddressError(f"not an address: {expected} was expected at character {self._at + 1} of {len(self._text)}")
