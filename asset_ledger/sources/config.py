"""sources.yaml: read, validated as a whole, every problem named with its path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.secrecy import names_secret
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.sources.registry import PLATFORMS, platform


def load_sources(path: Path) -> tuple[SourceConfig, ...]:
    """Return the sources of a file in its order, relative paths resolved against the file's folder.

    Raises PermanentError(CONFIG_INVALID) with every problem of the file at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PermanentError(CONFIG_INVALID, "there is no such file", target=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(CONFIG_INVALID, f"cannot be read: {error}", target=str(path)) from None
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise PermanentError(CONFIG_INVALID, f"not valid YAML{where}: {problem}", target=str(path)) from None
    sources, problems = parse_sources(data)
    if problems:
        raise PermanentError(CONFIG_INVALID, "\n  " + "\n  ".join(problems) + "\n", target=str(path))
    return tuple(_anchored(source, path.parent) for source in sources)


def parse_sources(data: Any) -> tuple[list[SourceConfig], list[str]]:
    """Return the valid sources of the parsed file and every problem as `path: what is wrong`. Pure."""
    if not isinstance(data, Mapping) or not isinstance(data.get("sources"), list):
        return [], ["sources: must be a list of sources under the key `sources`"]
    problems = [f"{key}: unknown key; the file has only `sources`" for key in data if key != "sources"]
    found: list[SourceConfig] = []
    first_use: dict[str, int] = {}
    for index, entry in enumerate(data["sources"]):
        at = f"sources[{index}]"
        if not isinstance(entry, Mapping):
            problems.append(f"{at}: must be a mapping with at least `name` and `platform`")
            continue
        name = entry.get("platform")
        if not isinstance(name, str) or name not in PLATFORMS:
            problems.append(f"{at}.platform: {name!r} is not a platform; there are {', '.join(sorted(PLATFORMS))}")
            continue
        for key in entry:
            if names_secret(str(key)) and key not in platform(name).config.model_fields:
                problems.append(f"{at}.{key}: a secret does not belong here; store it and name it by reference")
        try:
            source = platform(name).config.model_validate(entry)
        except ValidationError as error:
            problems.extend(
                f"{at}.{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}" for detail in error.errors()
            )
            continue
        if source.name in first_use:
            problems.append(f"{at}.name: {source.name!r} is also the name of sources[{first_use[source.name]}]")
            continue
        first_use[source.name] = index
        found.append(source)
    return found, problems


def _anchored(source: SourceConfig, folder: Path) -> SourceConfig:
    paths = {
        field: folder / value.expanduser()
        for field, value in source
        if isinstance(value, Path) and not value.expanduser().is_absolute()
    }
    return source.model_copy(update=paths) if paths else source
