"""The fields of one credential, as a mapping that does not show its values when printed or logged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from asset_ledger.domain.errors import CREDENTIAL_UNREADABLE, PermanentError

_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Secret(Mapping[str, str]):
    """Field names to values. `str` and `repr` name the fields only; `dict(secret)` is the way to the values."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, field: str) -> str:
        return self._fields[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Secret({', '.join(sorted(self._fields))})"


def is_field_name(name: str) -> bool:
    """Say whether a field may have this name: lower case letters, digits and _, a letter first."""
    return _FIELD.fullmatch(name) is not None


def as_secret(fields: object, reference: str) -> Secret:
    """Return what a store holds as a Secret. Raises PermanentError naming the field, never its value.

    Names are taken in lower case. Only text is a value: 0123 written as a number has already lost its zero.
    """
    if not isinstance(fields, Mapping):
        raise unreadable(reference, "not an object of fields and their texts")
    found: dict[str, str] = {}
    for written, value in fields.items():
        name = str(written).lower()
        if not is_field_name(name):
            # the name is not repeated: where names and values are mixed up, it is the secret
            raise unreadable(reference, "a field's name is not made of letters, digits and _")
        if not isinstance(value, str):
            raise unreadable(reference, f"the field {name} is not text; write its value in quotes")
        found[name] = value
    if not found:
        raise unreadable(reference, "it has no fields")
    return Secret(found)


def unreadable(target: str, message: str) -> PermanentError:
    """Return the error of a credential that is there and cannot be used."""
    return PermanentError(CREDENTIAL_UNREADABLE, message, target=target)
