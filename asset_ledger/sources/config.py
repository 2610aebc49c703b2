"""sources.yaml: read, validated as a whole, every problem named with its path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.secrecy import names_secret
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.sources.yaml_files import read_yaml, refused

RESERVED_NAMES = frozenset({"ledger", "iac", "agent", "marts"})
"""The Dagster groups that stand across sources; a source of that name would be mixed with them."""


def load_sources(path: Path, home: Path | None = None) -> tuple[SourceConfig, ...]:
    """Return the sources of a file in its order, relative paths resolved against the file's folder.

    `home` is the program's own folder, in which nobody drops files. Raises PermanentError(CONFIG_INVALID) with every
    problem of the file at once.
    """
    data = read_yaml(path)
    sources, problems = parse_sources(data, path.absolute().parent)
    if not problems:
        problems = _misplaced(sources, path.absolute().parent, home)
    if problems:
        raise refused(path, problems)
    file = path.absolute()
    return tuple(_anchored(source, file) for source in sources)


def parse_sources(data: Any, folder: Path = Path()) -> tuple[list[SourceConfig], list[str]]:
    """Return the valid sources of the parsed file and every problem as `path: what is wrong`.

    Relative paths begin at `folder`; no file is looked at.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("sources"), list):
        return [], ["sources: must be a list of sources under the key `sources`"]
    problems = [f"{key}: unknown key; the file has only `sources`" for key in data if key != "sources"]
    found: list[SourceConfig] = []
    first_use: dict[str, int] = {}
    owner: dict[tuple[str, str, str], int] = {}
    for index, entry in enumerate(data["sources"]):
        source, wrong = _parse_source(entry, f"sources[{index}]")
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and first_use.setdefault(name, index) != index:
            wrong.append(f"sources[{index}].name: {name!r} is also the name of sources[{first_use[name]}]")
        if isinstance(name, str) and name in RESERVED_NAMES:
            wrong.append(f"sources[{index}].name: {name!r} is the name of a group across sources; choose another")
        if source is not None:
            for field in platform(source.platform).exclusive:
                value = getattr(source, field)
                held = value if isinstance(value, tuple) else (value,)  # of a list each entry is the source's own
                places = [(source.platform, field, str(_normal(one, folder))) for one in held]
                others = [owner[at] for at in places if owner.setdefault(at, index) != index]
                wrong += [
                    f"sources[{index}].{field}: sources[{other}] has the same; give each its own"
                    for other in dict.fromkeys(others)
                ]
        problems += wrong
        if source is not None and not wrong:
            found.append(source)
    return found, problems


def _normal(value: Any, folder: Path) -> Any:
    """Return a path absolute and without detours, anything else as it is: `drop` and `./drop` are one folder."""
    if not isinstance(value, Path):
        return value
    try:
        value = value.expanduser()
    except RuntimeError:  # a user that does not exist; said when the path is anchored
        return value
    return Path(os.path.normpath(folder.absolute() / value))


def _misplaced(sources: list[SourceConfig], folder: Path, home: Path | None) -> list[str]:
    """Return a problem for every inbox in which the program would take its own files, or anybody's, for dropped ones.

    Called when the file has no other problem: `sources` has every entry of the file then.
    """
    problems = []
    taken = {Path("/"): "the root of the file system", folder: "the folder of sources.yaml itself"}
    if home is not None:
        taken.setdefault(Path(os.path.normpath(home)), "the program's own folder")
    resolved = {Path(os.path.realpath(place)): what for place, what in taken.items()}
    for index, source in enumerate(sources):
        for field in platform(source.platform).exclusive:
            value = _normal(getattr(source, field), folder)
            if not isinstance(value, Path):
                continue
            at = f"sources[{index}].{field}"
            if what := resolved.get(Path(os.path.realpath(value))):
                problems.append(f"{at}: this is {what}; name a folder that is for dropped files alone")
            elif any(os.path.lexists(place) and not place.is_dir() for place in (value, *value.parents)):
                problems.append(f"{at}: this is a file, or below one; name a folder")
    return problems


def _parse_source(entry: Any, at: str) -> tuple[SourceConfig | None, list[str]]:
    if not isinstance(entry, Mapping):
        return None, [f"{at}: must be a mapping with at least `name` and `platform`"]
    name = entry.get("platform")
    if not isinstance(name, str) or name not in PLATFORMS:
        return None, [f"{at}.platform: {name!r} is not a platform; there are {', '.join(sorted(PLATFORMS))}"]
    kind = platform(name)
    model = kind.config
    secrets = [key for key in entry if isinstance(key, str) and names_secret(key) and key not in model.model_fields]
    problems = [f"{at}.{key}: a secret does not belong here; store it and name it by reference" for key in secrets]
    try:
        source = model.model_validate({str(key): value for key, value in entry.items()})
    except ValidationError as error:
        # no message may quote the value: it may be a secret in the wrong place
        for detail in error.errors(include_input=False, include_url=False):
            if detail["loc"][:1] and detail["loc"][0] in secrets:
                continue
            said = "unknown field" if detail["type"] == "extra_forbidden" else detail["msg"]
            problems.append(f"{at}.{'.'.join(str(part) for part in detail['loc'])}: {said}")
        return None, problems
    return source, problems + [f"{at}.schedule{wrong}" for wrong in _timed_wrongly(source, kind)]


def _timed_wrongly(source: SourceConfig, kind: Platform) -> list[str]:
    """Return a problem for every scope that is to be read by the clock and is not read by itself."""
    if not isinstance(source.schedule, dict):
        return []
    if not source.schedule:
        return [": name a time for at least one scope; `enabled: false` stops the reading"]
    scopes = dict.fromkeys([*kind.chains(source), "all"])
    told = f"names no scope of this source; there are {', '.join(scopes)}"
    return [f": entry {number} {told}" for number, scope in enumerate(source.schedule, 1) if scope not in scopes]


def _anchored(source: SourceConfig, file: Path) -> SourceConfig:
    """Return the source with its paths absolute: from the file's folder, `~` from the user's home."""
    try:
        paths = {
            field: file.parent / value.expanduser()
            for field, value in source
            if isinstance(value, Path) and not value.is_absolute()
        }
    except RuntimeError as error:
        raise PermanentError(CONFIG_INVALID, f"{source.name}: {str(error).rstrip('.')}", target=str(file)) from None
    return source.model_copy(update=paths) if paths else source
