"""Which header means what: names, aliases, duplicates, what is unknown and what is secret."""

from __future__ import annotations

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.import_files.columns import canonical, understand
from asset_ledger.sources.import_files.rows import MODELS

HEADER = ["mgmt_ip", "hostname"]
ROW = ["192.0.2.1", "db-01"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mgmt_ip", "mgmt_ip"),
        ("  MGMT IP ", "mgmt_ip"),
        ("\ufeffMgmt-Ip", "mgmt_ip"),
        ("管理IP", "mgmt_ip"),
        ("管理ＩＰ", "mgmt_ip"),
        ("内存（GB）", "memory_gb"),
        ("Custom.Owner", "custom.Owner"),
        ("自定义．负责人", "custom.负责人"),
        ("备注", "custom.备注"),
        ("custom.", None),
        ("nonsense", None),
    ],
)
def test_a_column_is_known_by_any_of_its_spellings(text, name):
    assert canonical(text, "hosts") == name


@pytest.mark.parametrize("kind", ["hosts", "instances"])
def test_every_name_and_alias_means_one_column_only(kind):
    for name, field in MODELS[kind].model_fields.items():
        for spelling in (name, *field.json_schema_extra["aliases"]):
            assert canonical(spelling, kind) == name


def test_two_columns_that_mean_the_same_refuse_the_file():
    for pair in (["port", "端口"], ["memory_gb", "memory_bytes"], ["foo", "FOO"]):
        with pytest.raises(PermanentError) as refused:
            understand([*HEADER, *pair], "hosts", target="hosts.csv")
        assert refused.value.code.code == "IMPORT_DUPLICATE_HEADER"
        assert refused.value.target == "hosts.csv"
        assert all(name in str(refused.value) for name in pair)


def test_a_missing_required_column_refuses_the_file_and_names_what_was_found():
    with pytest.raises(PermanentError) as refused:
        understand(["mgmt_ip", "name"], "hosts", target="hosts.csv")
    assert refused.value.code.code == "IMPORT_MISSING_COLUMN"
    assert "no hostname" in str(refused.value)
    assert "name" in str(refused.value)


def test_a_file_without_header_does_not_show_its_data_in_the_error():
    with pytest.raises(PermanentError) as refused:
        understand(["192.0.2.1", "db-01", "hunter2"], "hosts", target="hosts.csv")
    assert "hunter2" not in str(refused.value)


def test_an_unknown_column_is_a_caution_that_names_the_nearest_known_one(drop_rows):
    outcome = drop_rows([[*HEADER, "cpu_corse", "zzz"], [*ROW, "8", "x"]])
    assert [caution.code.code for caution in outcome.cautions] == ["IMPORT_UNKNOWN_COLUMN"] * 2
    assert "did you mean cpu_cores?" in outcome.cautions[0].message
    assert "did you mean" not in outcome.cautions[1].message
    assert "hardware" not in outcome.records[0].document
    assert b"cpu_corse" in outcome.raw.body


def test_cells_under_no_header_are_a_caution_and_empty_ones_are_not(drop_rows):
    quiet = drop_rows([[*HEADER, "", ""], [*ROW, "", ""]])
    assert not quiet.cautions
    loud = drop_rows([[*HEADER, ""], [*ROW, ""], ["192.0.2.2", "b", "note"]])
    assert [(caution.code.code, caution.locator) for caution in loud.cautions] == [("IMPORT_UNKNOWN_COLUMN", "row 3")]


def test_the_cells_of_a_secret_column_are_removed_before_anything_is_kept(drop_rows):
    outcome = drop_rows([[*HEADER, "root密码", "custom.api_key"], [*ROW, "hunter2", "s3cr3t"]])
    assert {caution.code.code for caution in outcome.cautions} == {"IMPORT_SECRET_COLUMN"}
    assert outcome.raw.redacted
    kept = outcome.raw.body.decode() + repr(outcome.raw.document) + repr(outcome.items)
    assert "hunter2" not in kept
    assert "s3cr3t" not in kept
    assert len(outcome.records) == 1
    assert "custom_fields" not in outcome.records[0].document


def test_a_number_sign_alone_heads_a_column_and_does_not_begin_a_comment(drop_rows):
    outcome = drop_rows([["#", *HEADER], ["1", *ROW]])
    assert [record.external_id for record in outcome.records] == ["192.0.2.1"]
