"""Every IMPORT_* code: what can be wrong with a dropped file, with one of its rows or with one of its cells.

File codes are raised as `PermanentError`, row and cell codes stand in `RejectedCell`s, the last three in `Caution`s.
"""

from __future__ import annotations

from asset_ledger.domain.errors import ErrorCode


def _code(name: str, meaning: str, advice: str) -> ErrorCode:
    return ErrorCode(f"IMPORT_{name}", "input", False, meaning, advice)


EMPTY = _code(
    "EMPTY",
    "the file has no bytes, or no row at all",
    "Save it again; `asset-ledger import --template` writes one to start from",
)
TOO_LARGE = _code(
    "TOO_LARGE",
    "the file is larger than the source's max_file_bytes",
    "Split it into several files of the same day, or raise max_file_bytes of the source",
)
TOO_MANY_ROWS = _code(
    "TOO_MANY_ROWS",
    "the file has more rows or cells than the source's max_rows allows",
    "Split it into several files of the same day, or raise max_rows of the source",
)
UNSUPPORTED_FORMAT = _code(
    "UNSUPPORTED_FORMAT",
    "the file is neither CSV nor an Excel workbook, or its name says another thing than its content",
    "Save it as CSV UTF-8 or as .xlsx",
)
UNREADABLE = _code(
    "UNREADABLE",
    "the file cannot be opened, or is damaged",
    "Open it in a spreadsheet program and save it again as .xlsx or CSV UTF-8",
)
ENCODING = _code(
    "ENCODING",
    "the CSV is neither UTF-8 nor GB18030 throughout",
    "Save it again as CSV UTF-8 and look at the named byte",
)
CSV_MALFORMED = _code(
    "CSV_MALFORMED",
    "quotes in the CSV do not pair up, so where cells and rows end is not known",
    "Correct the quotes in the named row: inside a quoted cell every quote is written twice",
)
ZIP_BOMB = _code(
    "ZIP_BOMB",
    "the workbook would unpack to far more than a workbook of its size holds",
    "Do not open it. If it is honest, copy its cells into a new workbook and save that",
)
ENCRYPTED = _code(
    "ENCRYPTED",
    "the workbook is protected by a password",
    "Save it without a password; a reference such as vault:NAME is the way to name a credential",
)
MISSING_COLUMN = _code(
    "MISSING_COLUMN",
    "the header has no column that every row needs",
    "Make the first row the header and name the column as `asset-ledger import --template` shows",
)
DUPLICATE_HEADER = _code(
    "DUPLICATE_HEADER",
    "two columns of the header mean the same thing",
    "Keep one of the two columns",
)
REQUIRED = _code("REQUIRED", "a cell that every row needs is blank", "Fill in the cell")
ADDRESS_INVALID = _code(
    "ADDRESS_INVALID", "the text is no IP or MAC address", "Write it in full, such as 10.0.0.5 or 52:54:00:12:34:56"
)
ADDRESS_UNUSABLE = _code(
    "ADDRESS_UNUSABLE",
    "the address stands on many machines at once, so that it cannot say which one is meant",
    "Give the address by which the machine is managed",
)
HOSTNAME_INVALID = _code(
    "HOSTNAME_INVALID", "the text is no host name", "Write 1 to 253 characters without blank space"
)
CHOICE_INVALID = _code("CHOICE_INVALID", "the text is none of the allowed words", "Write one of the words named")
NUMBER_INVALID = _code(
    "NUMBER_INVALID",
    "the text is no number of the kind the column holds",
    "Write digits only, without unit or thousands separator; leave the cell blank where it is not known",
)
TEXT_INVALID = _code("TEXT_INVALID", "the text is too long for its column", "Shorten it")
TAG_INVALID = _code("TAG_INVALID", "a tag is too long", "Write tags of at most 64 characters, separated by ; or ,")
CREDENTIAL_INVALID = _code(
    "CREDENTIAL_INVALID",
    "the cell is no reference to a credential; what stood in it was removed, as it may be one",
    "Write env:NAME, file:NAME or vault:PATH and keep the secret in the credential store",
)
CUSTOM_FIELDS_INVALID = _code(
    "CUSTOM_FIELDS_INVALID",
    "the cell is no JSON object that can be kept",
    'Write {"name": "value"}, or use columns of the form custom.NAME',
)
SECRET_VALUE = _code(
    "SECRET_VALUE",
    "the cell held what looks like a password, key or token; it was removed and is not kept",
    "Keep it in the credential store, name it in credential_ref, and change the secret: it was in a file",
)
CONTROL_CHARACTER = _code(
    "CONTROL_CHARACTER", "the cell holds a character that is no text, such as a NUL", "Type the cell again"
)
FORMULA = _code(
    "FORMULA",
    "the cell holds a formula; formulas are never evaluated and their remembered results are not trusted",
    "Copy the cell and paste it as a value",
)
MERGED_CELLS = _code(
    "MERGED_CELLS",
    "the row has merged cells, so which machine the value belongs to would be a guess",
    "Unmerge the cells and fill in each one",
)
EXCEL_VALUE = _code(
    "EXCEL_VALUE",
    "the spreadsheet program changed the cell: to a date, a rounded number or an error",
    "Format the column as text and type the cell again",
)
RAGGED_ROW = _code(
    "RAGGED_ROW",
    "the row has more cells than the header",
    "Put cells that contain the separator in double quotes",
)
DUPLICATE_ROW = _code(
    "DUPLICATE_ROW",
    "an earlier row of the file already speaks for the same machine or instance, and that one was taken",
    "Keep one row for each",
)
UNKNOWN_COLUMN = _code(
    "UNKNOWN_COLUMN",
    "a column is not known, so its cells were not taken",
    "Correct its name, or call it custom.NAME to keep it",
)
SECRET_COLUMN = _code(
    "SECRET_COLUMN",
    "a column is named like a secret; its cells were removed before anything was stored",
    "Delete the column, keep secrets in the credential store, and change those that were in the file",
)
OTHER_SHEETS = _code(
    "OTHER_SHEETS",
    "the workbook has more than one sheet with cells; the first visible one was read",
    "Drop one workbook for each sheet",
)

CODES: tuple[ErrorCode, ...] = (
    EMPTY,
    TOO_LARGE,
    TOO_MANY_ROWS,
    UNSUPPORTED_FORMAT,
    UNREADABLE,
    ENCODING,
    CSV_MALFORMED,
    ZIP_BOMB,
    ENCRYPTED,
    MISSING_COLUMN,
    DUPLICATE_HEADER,
    REQUIRED,
    ADDRESS_INVALID,
    ADDRESS_UNUSABLE,
    HOSTNAME_INVALID,
    CHOICE_INVALID,
    NUMBER_INVALID,
    TEXT_INVALID,
    TAG_INVALID,
    CREDENTIAL_INVALID,
    CUSTOM_FIELDS_INVALID,
    SECRET_VALUE,
    CONTROL_CHARACTER,
    FORMULA,
    MERGED_CELLS,
    EXCEL_VALUE,
    RAGGED_ROW,
    DUPLICATE_ROW,
    UNKNOWN_COLUMN,
    SECRET_COLUMN,
    OTHER_SHEETS,
)
BY_NAME: dict[str, ErrorCode] = {code.code: code for code in CODES}
