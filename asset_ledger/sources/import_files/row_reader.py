"""One row of texts to its validated model, or to every cell that is to blame.

Called by `parse.py` for rows that the ledger does not have yet. Which texts a column takes, `cells.py` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import RejectedCell
from asset_ledger.domain.secrecy import REDACTED
from asset_ledger.sources.import_files import errors
from asset_ledger.sources.import_files.cells import without_invisible
from asset_ledger.sources.import_files.columns import Columns
from asset_ledger.sources.import_files.rows import CUSTOM, CUSTOM_MAX_TEXT, HostRow, InstanceRow
from asset_ledger.sources.import_files.table import Flaw


class RowReader:
    """Reads the rows under one header."""

    def __init__(self, columns: Columns, model: type[HostRow] | type[InstanceRow]) -> None:
        self._header = columns.header
        self._validate: Callable[[dict[str, str]], HostRow | InstanceRow] = model.__pydantic_validator__.validate_python
        named = [(i, name) for i, name in enumerate(columns.names) if name is not None]
        self._fields = [(i, name) for i, name in named if not name.startswith(CUSTOM)]
        self._custom = [(i, name) for i, name in named if name.startswith(CUSTOM)]
        self._position = {name: i for i, name in named}
        self._name = dict(named)

    def __call__(
        self, number: int, row: Sequence[str], flaws: Sequence[Flaw]
    ) -> tuple[HostRow | InstanceRow | None, dict[str, Any], list[RejectedCell]]:
        """Return (model or None, custom columns by name, rejected cells). A model may come with rejected cells."""
        texts = {name: text for i, name in self._fields if (text := row[i].strip())}
        custom: dict[str, Any] = {name[len(CUSTOM) :]: text for i, name in self._custom if (text := row[i].strip())}
        blamed: dict[str | None, RejectedCell] = {}
        if flaws:
            for flaw in flaws:
                name, cell = self._flawed(number, row, flaw)
                blamed.setdefault(name, cell)
        if REDACTED in row or not "".join(row).isprintable():
            for name, text in ((CUSTOM + key, text) for key, text in custom.items()):
                self._blame_character(number, name, text, row, blamed)
            for name, text in tuple(texts.items()):
                self._blame_character(number, name, text, row, blamed)
                clean = without_invisible(text)
                if clean:
                    texts[name] = clean
                else:
                    del texts[name]
        for key, text in custom.items():
            if len(text) > CUSTOM_MAX_TEXT and CUSTOM + key not in blamed:
                reason = f"{len(text)} characters are too many: the column holds at most {CUSTOM_MAX_TEXT}"
                blamed[CUSTOM + key] = self.rejected(number, CUSTOM + key, errors.TEXT_INVALID, reason, row)
        try:
            model = self._validate(texts)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_input=False):
                name = str(problem["loc"][0])
                code = errors.BY_NAME.get(problem["type"], errors.REQUIRED)
                reason = f"{name} is blank" if code is errors.REQUIRED else problem["msg"]
                blamed.setdefault(name, self.rejected(number, name, code, reason, row))
            return None, custom, list(blamed.values())
        both = model.custom_fields.keys() & custom.keys() if custom and model.custom_fields else None
        if both:
            reason = f"{', '.join(sorted(both))} stands in custom_fields and in a column of its own"
            cell = self.rejected(number, "custom_fields", errors.CUSTOM_FIELDS_INVALID, reason, row)
            blamed.setdefault("custom_fields", cell)
        return model, custom, list(blamed.values())

    def text(self, row: Sequence[str], name: str) -> str:
        """Return the text of a column in a row, as it is validated."""
        return without_invisible(row[self._position[name]])

    def rejected(self, number: int, name: str, code: ErrorCode, reason: str, row: Sequence[str]) -> RejectedCell:
        """Return a rejected cell with what stood in it, unless that may be a secret."""
        position = self._position[name]
        secret = code in (errors.CREDENTIAL_INVALID, errors.SECRET_VALUE)
        value = REDACTED if secret else shown_value(row[position]) or None
        return RejectedCell(number, self._header[position], code, reason, value)

    def _flawed(self, number: int, row: Sequence[str], flaw: Flaw) -> tuple[str | None, RejectedCell]:
        if flaw.position is None:
            return None, RejectedCell(number, None, flaw.code, flaw.reason, flaw.shown)
        value = flaw.shown if flaw.shown is not None else shown_value(row[flaw.position]) or None
        cell = RejectedCell(number, self._header[flaw.position], flaw.code, flaw.reason, value)
        return self._name.get(flaw.position), cell

    def _blame_character(
        self,
        number: int,
        name: str,
        text: str,
        row: Sequence[str],
        blamed: dict[str | None, RejectedCell],
    ) -> None:
        """Refuse a cell that was redacted before it was stored, or that holds what is no text."""
        if text == REDACTED and name != "credential_ref":
            reason = "the cell held what looks like a secret and was removed before anything was stored"
            cell = self.rejected(number, name, errors.SECRET_VALUE, reason, row)
        elif any(map(_is_no_text, text)):
            reason = "the cell holds a character that is no text"
            cell = self.rejected(number, name, errors.CONTROL_CHARACTER, reason, row)
        else:
            return
        blamed.setdefault(name, cell)


def _is_no_text(character: str) -> bool:
    return (character < " " and character not in "\t\r\n") or "\ud800" <= character <= "\udfff"


def shown_value(text: str) -> str:
    """Return a cell as records and reports may hold it: at most 500 characters, control characters spelled out."""
    text = text if len(text) <= 500 else f"{text[:497]}..."
    if text.isprintable():
        return text
    return "".join(repr(each)[1:-1] if _is_no_text(each) else each for each in text)
