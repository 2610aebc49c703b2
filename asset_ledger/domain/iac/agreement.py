"""Whether what is there is what was planned: value by value, as far as the plan knew and nothing is hidden. Pure.

Values that are known whole are compared by a number each: equal ones have the same, and so have those that mean the
same to providers. So only what is not known whole has to be looked for among others, and that has an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from asset_ledger.domain.iac.exact_json import loads, storable_number
from asset_ledger.domain.iac.patches import same
from asset_ledger.domain.iac.plans import UNKNOWN
from asset_ledger.domain.iac.redaction import MARK

MOST_TRIED = 2_000_000
"""Values that are looked at in search of one that fits, in a whole plan: some seconds' work."""
_NOTHING = ("nothing",)


class UntoldError(ValueError):
    """Values so much alike, with so much in them that is not known, that which is which would take too long to tell."""

    def __init__(self) -> None:
        super().__init__("too many values fit too many others")


def unsaid(value: Any) -> bool:
    """Say whether a value is one that only the apply will tell, or that is hidden."""
    return isinstance(value, str) and (value == UNKNOWN or MARK in value)


class Comparing:
    """Compares all that one plan says, within one allowance of work."""

    def __init__(self, most_tried: int = MOST_TRIED) -> None:
        self._left = most_tried

    def agrees(self, planned: Any, found: Mapping[str, Any]) -> bool:
        """Say whether a resource's attributes are those that were planned. Raises UntoldError.

        Nothing, an empty text, an empty list and an empty object are the same to providers; sets come back in any
        order; policies are written anew; and what a plan does not name at all, the provider adds by itself.
        """
        if not isinstance(planned, Mapping):  # all of it is known after the apply
            return unsaid(planned)
        numbers = _Numbers()
        for name, value in planned.items():
            if not self._agree(value, _untyped(found.get(name), value), numbers, searching=False):
                return False
        return True

    def _agree(self, planned: Any, found: Any, numbers: _Numbers, *, searching: bool) -> bool:
        if searching:
            self._spend(1 + (len(planned) if isinstance(planned, Mapping | list) else 0))
        if unsaid(planned) or unsaid(found):
            return True
        whole, other = numbers.of(planned), numbers.of(found)
        if whole is not None and other is not None:
            return whole == other
        return self._agree_within(planned, found, numbers, searching=searching)

    def _agree_within(self, planned: Any, found: Any, numbers: _Numbers, *, searching: bool) -> bool:
        if isinstance(planned, Mapping) and isinstance(found, Mapping):
            for name in planned.keys() | found.keys():
                if not self._agree(planned.get(name), found.get(name), numbers, searching=searching):
                    return False
            return True
        if isinstance(planned, list) and isinstance(found, list) and len(planned) == len(found):
            for one, another in zip(planned, found, strict=True):
                if not self._agree(one, another, numbers, searching=searching):
                    if searching:
                        self._spend(4 * len(planned))
                    return self._agree_in_another_order(planned, found, numbers)
            return True
        return False

    def _agree_in_another_order(self, planned: list[Any], found: list[Any], numbers: _Numbers) -> bool:
        # what is known whole takes its own first, which needs no search: what is not fits many
        equal = Counter(numbers.known(planned)) & Counter(numbers.known(found))
        known, open_ = numbers.parted(planned, equal)
        known_there, open_there = numbers.parted(found, equal)
        return (
            len(known) <= len(open_there)
            and all(self._take(one, [open_there], numbers) for one in known)
            and all(self._take(one, [known_there, open_there], numbers) for one in open_)
        )

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise UntoldError

    def _take(self, planned: Any, there: list[list[Any]], numbers: _Numbers) -> bool:
        """Take what agrees out of the first of the lists that has it, and say whether there was anything."""
        for found in there:
            for place, other in enumerate(found):
                if self._agree(planned, other, numbers, searching=True):
                    del found[place]
                    return True
        return False


class _Numbers:
    """Gives values that mean the same one number. They are not to change, and not to go, as long as it is there."""

    def __init__(self) -> None:
        self._of_forms: dict[Any, int] = {_NOTHING: 0}
        self._of_containers: dict[int, int | None] = {}
        self._of_texts: dict[str, int] = {}

    def of(self, value: Any) -> int | None:
        """Return a value's number; None of one in which something is not known or hidden."""
        if isinstance(value, Mapping | list):
            key = id(value)
            if key not in self._of_containers:
                self._of_containers[key] = self._of_container(value)
            return self._of_containers[key]
        if unsaid(value):
            return None
        return self._of_text(value) if isinstance(value, str) else self._number(_form(value))

    def known(self, values: list[Any]) -> Iterator[int]:
        """Yield the numbers of the values that are known whole."""
        return (number for each in values if (number := self.of(each)) is not None)

    def parted(self, values: list[Any], but: Counter[int]) -> tuple[list[Any], list[Any]]:
        """Return those values that are known whole, each number fewer times by what it has there, and the others."""
        known: list[Any] = []
        others: list[Any] = []
        left = but.copy()
        for each in values:
            number = self.of(each)
            if number is None:
                others.append(each)
            elif left[number] > 0:
                left[number] -= 1
            else:
                known.append(each)
        return known, others

    def _of_container(self, value: Mapping[str, Any] | list[Any]) -> int | None:
        inner: list[Any] = []
        for name, each in value.items() if isinstance(value, Mapping) else enumerate(value):
            number = self.of(each)
            if number is None:
                return None
            if isinstance(value, list):
                inner.append(number)
            elif number:  # a member that is nothing is as good as none
                inner.append((name, number))
        # in any order: no state says which lists are sets
        return self._number(("list" if isinstance(value, list) else "object", *sorted(inner)) if inner else _NOTHING)

    def _of_text(self, text: str) -> int:
        if text not in self._of_texts:
            self._of_texts[text] = self._number(self._read(text) or _form(text))
        return self._of_texts[text]

    def _read(self, text: str) -> Any:
        """Return the form of a text that is a document: providers write policies anew. None of any other."""
        if text[:100].lstrip()[:1] not in ("{", "["):
            return None
        try:
            return "document", self._exactly(loads(text.encode()))
        except (ValueError, RecursionError):
            return None

    def _exactly(self, value: Any) -> int:
        """Return the number that a value has in a document, where nothing means the same as anything else."""
        if isinstance(value, dict):
            return self._number(("members", *sorted((name, self._exactly(each)) for name, each in value.items())))
        if isinstance(value, list):
            return self._number(("elements", *map(self._exactly, value)))
        return self._number(("exactly", value) if value in (None, "") else _form(value))

    def _number(self, form: Any) -> int:
        return self._of_forms.setdefault(form, len(self._of_forms))


def _form(value: Any) -> tuple[str, ...]:
    """Return what two values have in common where they are the same JSON; numbers by their digits."""
    if value is None or value == "":
        return _NOTHING
    if isinstance(value, bool):
        return "truth", str(value)
    if isinstance(value, str):
        return "text", value
    number = storable_number(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    # as texts: who sends whole numbers can choose such as have one hash
    return "number", f"{number:f}".rstrip("0") if isinstance(number, Decimal) else str(number)


def _untyped(found: Any, planned: Any) -> Any:
    """Return an attribute of a state as plans have it: one of any type stands in a state beside its type."""
    typed = isinstance(found, Mapping) and found.keys() == {"value", "type"}
    return found["value"] if typed and not (isinstance(planned, Mapping) and same(planned, found)) else found
