"""Whether a text is a cron expression of five fields, or an hour: a wrong one must be named where it stands, in
sources.yaml.

Read by `platform.SourceConfig` and `pipeline.chains`. When an expression fires is the scheduler's business.
"""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
)
_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([0-9]+))?", re.ASCII)


def checked_cron(text: str) -> str:
    """Return the expression with single spaces. Raises ValueError naming the field that is wrong."""
    words = text.split()
    if len(words) != len(_FIELDS):
        raise ValueError(f"a cron expression has five fields (minute hour day month weekday), this has {len(words)}")
    for word, (name, low, high, names) in zip(words, _FIELDS, strict=True):
        for part in word.split(","):
            if not _is_part(part, low, high, names):
                raise ValueError(f"the {name} {part!r} is not *, {low} to {high}, a range or a step of these")
    return " ".join(words)


def checked_times(said: str | dict[str, str]) -> str | dict[str, str]:
    """Return one expression, or one for each scope, as `checked_cron` does. Raises ValueError naming the entry."""
    if isinstance(said, str):
        return checked_cron(said)
    found = {}
    for number, (scope, cron) in enumerate(said.items(), 1):
        try:
            found[scope] = checked_cron(cron)
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from None
    return found


def checked_clock(said: object) -> str:
    """Return an hour of the day, `HH:MM`. Raises ValueError for anything else."""
    if isinstance(said, int):
        raise ValueError('put it in quotes, as in "10:00": without them YAML reads it as a number')  # noqa: TRY004
    if not isinstance(said, str) or re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", said) is None:
        raise ValueError('an hour of the day is two digits, a colon and two digits, from "00:00" to "23:59"')
    return said


def later(cron: str, minutes: int) -> str:
    """Return a checked expression that fires so many minutes later in the hour, the same where that cannot be."""
    minute, rest = cron.split(" ", 1)
    if not minute.isdecimal() or int(minute) + minutes > 59:
        return cron
    return f"{int(minute) + minutes} {rest}"


def _is_part(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    found = _PART.fullmatch(part)
    if found is None or (found[3] is not None and int(found[3]) == 0):
        return False
    ends = [_number(end, names, low) for end in (found[1], found[2]) if end is not None]
    return all(end is not None and low <= end <= high for end in ends) and (
        len(ends) < 2 or (ends[0] or 0) <= (ends[1] or 0)
    )


def _number(text: str, names: tuple[str, ...], low: int) -> int | None:
    if text.lower() in names:
        return names.index(text.lower()) + low
    return int(text) if text.isascii() and text.isdecimal() else None
