"""notices.yaml: read, validated as a whole, every problem named with its path. docs/notices.md describes it.

What it means is `domain.notices.receivers`; `Ledger.notices` hands it out, and says what it is where there is no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.domain.iac.rules import matches
from asset_ledger.domain.notices.receivers import AGAIN_AFTER, Notices, Quiet, Receiver
from asset_ledger.domain.notices.troubles import KINDS, Kind, Severity
from asset_ledger.domain.secrecy import holds_secret, names_secret
from asset_ledger.sources.yaml_files import read_yaml, refused

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")


def _hours(told: object) -> tuple[time, time]:
    found = _HOURS.fullmatch(told.strip()) if isinstance(told, str) else None
    if found is None:
        raise ValueError('must look like "22:00-08:00", in quotes')
    begins, ends = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if begins == ends:
        raise ValueError("begin and end are the same; leave quiet_hours out where no hour is quiet")
    return begins, ends


def _zone(told: str) -> str:
    try:
        ZoneInfo(told)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone; write one such as Asia/Shanghai") from None
    return told


def _never(told: object) -> object:
    # YAML reads a bare `no` as false, and it is what somebody writes who means it
    return None if told in ("never", False) else told


def _reference(told: str) -> str:
    kind, _, name = told.partition(":")
    if kind not in ("env", "file", "vault") or not name or name.startswith("//") or holds_secret(told):
        raise ValueError("must be env:NAME, file:NAME or vault:PATH; the receiver's address is a secret itself")
    return told


def _base(told: str) -> str:
    try:
        parts = urlsplit(told)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        usable = False
    if not usable or "@" in told or any(sign.isspace() for sign in told):
        raise ValueError("must look like https://dagster.example.com, without a password")
    return told.rstrip("/")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Quiet(_Entry):
    hours: Annotated[tuple[time, time], BeforeValidator(_hours)]
    zone: Annotated[str, AfterValidator(_zone)] = LEDGER_TIMEZONE
    breaks_through: Annotated[Severity | None, BeforeValidator(_never)] = "critical"


class _Receiver(_Entry):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    credential_ref: Annotated[str, AfterValidator(_reference)]
    sources: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = ("*",)
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = KINDS
    severity: Severity = "warning"
    quiet_hours: _Quiet | None = None


class _File(_Entry):
    dagster_url: Annotated[str, AfterValidator(_base)] | None = None
    again_after_hours: Annotated[float, Field(gt=0, le=24 * 366)] = AGAIN_AFTER / timedelta(hours=1)
    receivers: tuple[_Receiver, ...] = ()


def load(path: Path, sources: Sequence[str]) -> Notices:
    """Return what the file says. `sources` are every source's name; that a glob fits none of them is a warning, since a
    source that was taken out of sources.yaml must not silence everybody.

    Raises PermanentError(CONFIG_INVALID) with every problem at once.
    """
    data = read_yaml(path)
    if data is None:  # a file of comments alone
        return Notices()
    if not isinstance(data, Mapping):
        raise refused(
            path, [f"the file: must be a mapping with {', '.join(f'`{name}`' for name in _File.model_fields)}"]
        )
    try:
        told = _File.model_validate({str(key): value for key, value in data.items()})
    except ValidationError as error:
        # no message may quote the value: it may be a secret in the wrong place
        raise refused(path, [_problem(one) for one in error.errors(include_input=False, include_url=False)]) from None
    if problems := list(_problems(told.receivers)):
        raise refused(path, problems)
    return Notices(
        tuple(
            Receiver(
                one.name,
                one.credential_ref,
                one.sources,
                one.kinds,
                one.severity,
                None
                if one.quiet_hours is None
                else Quiet(*one.quiet_hours.hours, one.quiet_hours.zone, one.quiet_hours.breaks_through),
            )
            for one in told.receivers
        ),
        told.dagster_url,
        timedelta(hours=told.again_after_hours),
        tuple(_warnings(told.receivers, sources)),
    )


def _problem(detail: Any) -> str:
    *before, last = detail["loc"]
    if detail["type"] == "extra_forbidden":
        at = _path(before) or "the file"
        # not by its name, where that may be the secret that slipped
        if names_secret(str(last)) or str(last) in ("url", "urls") or not re.fullmatch(r"[a-z_]{1,30}", str(last)):
            return f"{at}: a secret or an address does not belong here; store it and name it by `credential_ref`"
        return (
            f"{at}.{last}: unknown field"
            if before
            else f"{last}: unknown field; there are {', '.join(_File.model_fields)}"
        )
    return f"{_path(detail['loc'])}: {str(detail['msg']).removeprefix('Value error, ')}"


def _path(loc: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def _problems(receivers: Sequence[_Receiver]) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, one in enumerate(receivers):
        if first.setdefault(one.name, number) != number:
            yield f"receivers[{number}].name: receivers[{first[one.name]}] is called so too; what was sent hangs on it"


def _warnings(receivers: Sequence[_Receiver], sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, one in enumerate(receivers):
        for at, glob in enumerate(one.sources):
            if not matches(glob, "") and not any(matches(glob, name) for name in sources):
                yield (
                    one.name,
                    f"receivers[{number}].sources[{at}]: no source of sources.yaml has such a name; there are: "
                    + (", ".join(sources) or "none"),
                )
