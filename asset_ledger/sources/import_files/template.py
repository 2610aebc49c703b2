"""The files people start from: a header with every column explained, made from the row models.

A template imports as it is, with no rows and no cautions. Called by `asset-ledger import --template`.
"""

from __future__ import annotations

import csv
import io

from asset_ledger.sources.import_files.rows import CUSTOM, CUSTOM_DESCRIPTION, MODELS

_CHOICES = {"asset_type": ["vm", "physical"], "protocol": ["ssh", "winrm", "local"]}
_ROWS_WITH_CHOICES = 10_000
_INSTEAD = ("memory_bytes", "memory_mb", "disk_total_bytes")  # the template offers the GB columns in their place


def explained(kind: str) -> list[tuple[str, bool, str, str]]:
    """Return (name, required, description, example) of every column of a kind (`hosts`, `instances`), in order."""
    columns = []
    for name, field in MODELS[kind].model_fields.items():
        example = str((field.examples or [""])[0])
        columns.append((name, field.is_required(), field.description or "", example))
    return [*columns, (f"{CUSTOM}NAME", False, CUSTOM_DESCRIPTION, "平台组")]


def _offered(kind: str) -> list[tuple[str, bool, str, str]]:
    return [column for column in explained(kind) if column[0] not in _INSTEAD and not column[0].startswith(CUSTOM)]


def template_csv(kind: str = "hosts") -> bytes:
    """Return a CSV template (UTF-8 with a mark): a `#` line for each column, an example, then the header."""
    stream = io.StringIO(newline="")
    stream.write("\ufeff")
    writer = csv.writer(stream)
    writer.writerow(
        [f"# One {'machine' if kind == 'hosts' else 'database instance'} a row. Lines beginning with # are"]
    )
    writer.writerow(["# passed over. Leave a cell blank where its value is not known. The order of columns is free."])
    for name, required, description, example in explained(kind):
        must = " (required)" if required else ""
        writer.writerow([f"# {name}{must}: {description} Example: {example}"])
    header = [name for name, *_ in _offered(kind)]
    writer.writerow(header)
    return stream.getvalue().encode()


def template_xlsx(kind: str = "hosts") -> bytes:
    """Return an Excel template: notes at the header, lists to choose from, all columns as text (zeros are kept)."""
    import xlsxwriter

    out = io.BytesIO()
    workbook = xlsxwriter.Workbook(out, {"in_memory": True})
    sheet = workbook.add_worksheet(kind)
    plain = workbook.add_format({"num_format": "@"})
    required_format = workbook.add_format({"bold": True, "bg_color": "#FFE699", "border": 1})
    optional_format = workbook.add_format({"bold": True, "bg_color": "#DDEBF7", "border": 1})
    for position, (name, required, description, example) in enumerate(_offered(kind)):
        sheet.set_column(position, position, max(12, len(name) + 4), plain)
        sheet.write_string(0, position, name, required_format if required else optional_format)
        must = "Required. " if required else ""
        sheet.write_comment(0, position, f"{must}{description}\nExample: {example}", {"x_scale": 2, "y_scale": 1.5})
        if name in _CHOICES:
            rule = {"validate": "list", "source": _CHOICES[name]}
            sheet.data_validation(1, position, _ROWS_WITH_CHOICES, position, rule)
    sheet.freeze_panes(1, 2)
    workbook.close()
    return out.getvalue()
