"""YAML files that people write: read strictly, and what is wrong said without quoting them.

Called by `sources.config` and `pipeline.iac_file`; what a file means is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError


def read_yaml(path: Path) -> Any:
    """Return what a file says. Raises PermanentError(CONFIG_INVALID) with the line where it is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PermanentError(CONFIG_INVALID, "there is no such file", target=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(CONFIG_INVALID, f"cannot be read: {error}", target=str(path)) from None
    try:
        return yaml.load(text, Loader=_OnceLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise PermanentError(CONFIG_INVALID, _problem(error, text), target=str(path)) from None


def refused(path: Path, problems: list[str]) -> PermanentError:
    """Return the error that names every problem of a file at once."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return PermanentError(CONFIG_INVALID, "\n  ".join([f"{count}:", *problems]), target=str(path))


class _OnceLoader(yaml.SafeLoader):
    """SafeLoader, but a key that a mapping has twice is an error: YAML's own habit is to drop the first silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, Any]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key `{key.value}` again", key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep=deep)


def _problem(error: yaml.YAMLError, text: str) -> str:
    """Say what is wrong and where, without quoting the file: what is quoted wrongly may be a secret."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        line, column = mark.line + 1, mark.column + 1
    else:  # a character that no YAML file may hold
        before = text[: getattr(error, "position", 0)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    if "'\\t'" in problem:
        problem = "a tab stands where only spaces may indent"
    problem = re.sub(r"^found character '.*' that cannot", "a character stands there that cannot", problem)
    problem = re.sub(r"'[^'<>]{2,}'", "what stands there", problem)
    return f"not valid YAML in line {line}, column {column}: {problem}"
