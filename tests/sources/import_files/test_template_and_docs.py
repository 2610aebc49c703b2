"""Templates, examples and the platform's page say what the row models say."""

from __future__ import annotations

import io
from pathlib import Path

import openpyxl
import pytest

from asset_ledger.domain.inventory import AssetRecord
from asset_ledger.sources.import_files.accept import accept
from asset_ledger.sources.import_files.errors import CODES
from asset_ledger.sources.import_files.parse import parse
from asset_ledger.sources.import_files.rows import MODELS
from asset_ledger.sources.import_files.template import explained, template_csv, template_xlsx
from tests.sources.import_files.conftest import CAME_AT, csv_bytes, drop_bytes

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "platforms" / "import.md"


@pytest.mark.parametrize("kind", ["hosts", "instances"])
def test_a_template_imports_as_it_is(kind):
    for body, suffix in ((template_csv(kind), "csv"), (template_xlsx(kind), "xlsx")):
        outcome = drop_bytes(body, f"{kind}.{suffix}")
        assert outcome.items == []
        assert outcome.raw.body == body


def test_the_examples_of_the_columns_are_valid_rows():
    for kind in MODELS:
        columns = [
            (name, example)
            for name, _, _, example in explained(kind)
            if not name.startswith(("memory_b", "memory_m", "disk_total_b"))
        ]
        body = csv_bytes([[name for name, _ in columns], [example for _, example in columns]])
        outcome = drop_bytes(body, f"{kind}.csv")
        assert len(outcome.items) == 1
        assert not outcome.faults


def test_a_row_typed_below_the_template_is_taken():
    outcome = drop_bytes(template_csv() + b"192.0.2.1,db-01\r\n")
    assert [record.external_id for record in outcome.records] == ["192.0.2.1"]


def test_the_excel_template_keeps_zeros_offers_choices_and_explains_every_column():
    sheet = openpyxl.load_workbook(io.BytesIO(template_xlsx())).active
    header = [cell.value for cell in sheet[1]]
    assert all(cell.comment for cell in sheet[1])
    assert {rule.formula1 for rule in sheet.data_validations.dataValidation} == {'"vm,physical"', '"ssh,winrm,local"'}
    assert all(
        sheet.column_dimensions[cell.column_letter].number_format == "@" for cell in sheet[1] if cell.column == 1
    )
    assert header[:2] == ["mgmt_ip", "hostname"]


def columns_table(kind: str) -> str:
    """Return the table of the page for a kind, as the row model has it."""
    lines = ["| column | also written | what it holds | example |", "|---|---|---|---|"]
    for name, required, description, example in explained(kind):
        field = MODELS[kind].model_fields.get(name)
        aliases = ", ".join(field.json_schema_extra["aliases"]) if field else ""
        lines.append(f"| `{name}`{' **(required)**' if required else ''} | {aliases} | {description} | `{example}` |")
    return "\n".join(lines)


@pytest.mark.parametrize("kind", ["hosts", "instances"])
def test_the_page_has_the_columns_of_the_row_model(kind):
    assert columns_table(kind) in PAGE.read_text(encoding="utf-8")


def test_the_page_has_every_error_code():
    text = PAGE.read_text(encoding="utf-8")
    assert [code.code for code in CODES if f"`{code.code}`" not in text] == []


def test_the_example_inbox_shows_three_days():
    days = {}
    known: dict[bytes, str] = {}
    for path in sorted((ROOT / "examples" / "inbox").glob("hosts_*")):
        items = list(parse(accept(path, CAME_AT), known))
        days[path.name] = {type(item).__name__: sum(type(each) is type(item) for each in items) for item in items}
        known |= {item.record_digest: item.external_id for item in items if isinstance(item, AssetRecord)}
    assert days == {
        "hosts_2026-11-01.csv": {"AssetRecord": 11, "RejectedRow": 1},
        "hosts_2026-11-02.xlsx": {"UnchangedRecord": 9, "AssetRecord": 4},
        "hosts_2026-11-03.csv": {"UnchangedRecord": 12, "AssetRecord": 1},
    }
    outcome = drop_bytes(
        (ROOT / "examples" / "inbox" / "instances_2026-11-03.csv").read_bytes(), "instances_2026-11-03.csv"
    )
    assert len(outcome.instances) == 6
    assert not outcome.faults
