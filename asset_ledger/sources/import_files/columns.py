"""Which column of a header means what. Knows the names and their aliases, nothing of rows or files."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import Caution
from asset_ledger.domain.secrecy import REDACTED, holds_secret, names_secret
from asset_ledger.sources.import_files import errors
from asset_ledger.sources.import_files.cells import without_invisible
from asset_ledger.sources.import_files.rows import CUSTOM, MODELS

_IGNORED = re.compile(r"[\s_\-()*]+")
_CUSTOM_PREFIX = re.compile(r"(?:custom|自定义)\s*\.\s*", re.IGNORECASE)
_REMARK = ("备注", "custom.备注")


@dataclass(frozen=True, slots=True)
class Columns:
    """A header, understood. `names` has the canonical name of each position, or None where it is not taken.

    `secret` are the positions whose cells must never be stored, `nameless` those without a header.
    """

    header: tuple[str, ...]
    names: tuple[str | None, ...]
    secret: frozenset[int]
    nameless: frozenset[int]
    cautions: tuple[Caution, ...]

    def position(self, name: str) -> int | None:
        """Return where a canonical column stands."""
        return self.names.index(name) if name in self.names else None


@cache
def _known(kind: str) -> dict[str, str]:
    """Return every way of writing a column, folded, to its canonical name."""
    names = {_fold(_REMARK[0]): _REMARK[1]}
    for name, field in MODELS[kind].model_fields.items():
        extra = field.json_schema_extra
        aliases = extra["aliases"] if isinstance(extra, dict) else []
        if not isinstance(aliases, list):
            raise TypeError(f"aliases of {name} are no list")
        for spelling in (name, *map(str, aliases)):
            names[_fold(spelling)] = name
    return names


@cache
def group(kind: str, name: str) -> str:
    """Return what a column speaks about: memory_gb and memory_bytes speak about the same."""
    field = MODELS[kind].model_fields.get(name)
    extra = field.json_schema_extra if field else None
    return str(extra.get("group", name)) if isinstance(extra, dict) else name


def _fold(text: str) -> str:
    return _IGNORED.sub("", unicodedata.normalize("NFKC", text)).casefold()


def canonical(text: str, kind: str) -> str | None:
    """Return the canonical name of a header cell, or None for one that is not known."""
    clean = unicodedata.normalize("NFKC", without_invisible(text))
    prefix = _CUSTOM_PREFIX.match(clean)
    if prefix:
        rest = clean[prefix.end() :].strip()
        return CUSTOM + rest if rest and rest.isprintable() else None
    return _known(kind).get(_fold(clean))


def count_known(header: Sequence[str], kind: str) -> int:
    """Return how many cells of a would-be header are known columns."""
    return sum(canonical(cell, kind) is not None for cell in header)


def understand(header: Sequence[str], kind: str, *, target: str) -> Columns:
    """Return what each column means.

    Raises PermanentError IMPORT_DUPLICATE_HEADER or IMPORT_MISSING_COLUMN.
    """
    texts = tuple(without_invisible(cell) for cell in header)
    found = [canonical(text, kind) if text else None for text in texts]
    secret = frozenset(i for i, text in enumerate(texts) if names_secret(unicodedata.normalize("NFKC", text)))
    _refuse_duplicates(texts, found, kind, target)
    names = tuple(None if i in secret else name for i, name in enumerate(found))
    _refuse_missing(texts, names, kind, target)
    cautions: list[Caution] = []
    for i, text in enumerate(texts):
        if i in secret:
            message = f"the cells of column {shown(text)!r} were removed before anything was stored"
            cautions.append(Caution(errors.SECRET_COLUMN, message))
        elif text and names[i] is None:
            cautions.append(
                Caution(errors.UNKNOWN_COLUMN, f"column {shown(text)!r} is not known{_nearest(text, kind)}")
            )
    nameless = frozenset(i for i, text in enumerate(texts) if not text)
    return Columns(tuple(map(shown, texts)), names, secret, nameless, tuple(cautions))


def shown(text: str) -> str:
    """Return a header cell as messages and records may repeat it."""
    if holds_secret(text):
        return REDACTED
    return text if len(text) <= 100 else f"{text[:97]}..."


def _nearest(text: str, kind: str) -> str:
    near = difflib.get_close_matches(_fold(text), list(_known(kind)), n=1, cutoff=0.6)
    return f"; did you mean {_known(kind)[near[0]]}?" if near else ""


def _refuse_duplicates(texts: tuple[str, ...], found: list[str | None], kind: str, target: str) -> None:
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        if not text:
            continue
        name = found[i]
        key = f"known {group(kind, name)}" if name else f"unknown {text.casefold()}"
        earlier = first.setdefault(key, i)
        if earlier != i:
            raise PermanentError(
                errors.DUPLICATE_HEADER,
                f"columns {earlier + 1} {shown(texts[earlier])!r} and {i + 1} {shown(text)!r} mean the same",
                target=target,
            )


def _refuse_missing(texts: tuple[str, ...], names: tuple[str | None, ...], kind: str, target: str) -> None:
    missing = [name for name, field in MODELS[kind].model_fields.items() if field.is_required() and name not in names]
    if not missing:
        return
    if any(names):
        seen = "it has " + ", ".join(shown(text) for text in texts[:40] if text)
    else:  # probably no header at all: its cells are data and may hold anything, so they are not repeated
        seen = f"none of its {len(texts)} cells is the name of a known column"
    raise PermanentError(errors.MISSING_COLUMN, f"the header has no {' and no '.join(missing)}; {seen}", target=target)
