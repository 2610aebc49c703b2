"""What each column takes and refuses, and that a reason says what to write instead."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from asset_ledger.domain.addresses import identifies_machine
from asset_ledger.sources.import_files import cells


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("１０．０．０．５", "10.0.0.5"),
        ("10。0。0。5", "10.0.0.5"),
        ("\u00a010.0.0.5\u200b", "10.0.0.5"),
        ("10.0.0.5/24", "10.0.0.5"),
        ("2001:DB8::0:5", "2001:db8::5"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("::ffff:10.0.0.5", "10.0.0.5"),
    ],
)
def test_an_address_is_taken_where_only_one_can_be_meant(drop_row, text, address):
    assert [record.external_id for record in drop_row(mgmt_ip=text).records] == [address]


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("10.0.0.05", "IMPORT_ADDRESS_INVALID", "write 10.0.0.5"),
        ("010.0.0.5", "IMPORT_ADDRESS_INVALID", "write 10.0.0.5"),
        ("10.0.0.0/24", "IMPORT_ADDRESS_INVALID", "is a network"),
        ("10.0.0.5/99", "IMPORT_ADDRESS_INVALID", "prefix length"),
        ("1.00001E+11", "IMPORT_ADDRESS_INVALID", "spreadsheet"),
        ("10.0.0.5;10.0.0.6", "IMPORT_ADDRESS_INVALID", "more than one"),
        ("db-01", "IMPORT_ADDRESS_INVALID", "no IP address"),
        ("127.0.0.1", "IMPORT_ADDRESS_UNUSABLE", "loopback"),
        ("169.254.1.1", "IMPORT_ADDRESS_UNUSABLE", "link-local"),
        ("fe80::1", "IMPORT_ADDRESS_UNUSABLE", "link-local"),
        ("0.0.0.0", "IMPORT_ADDRESS_UNUSABLE", ""),
        ("", "IMPORT_REQUIRED", "blank"),
    ],
)
def test_an_address_is_refused_with_what_to_write_instead(drop_row, text, code, reason):
    (row,) = drop_row(mgmt_ip=text).rejected
    assert [cell.code.code for cell in row.cells] == [code]
    assert reason in row.cells[0].reason


@given(st.ip_addresses(v=4))
def test_the_short_way_for_addresses_agrees_with_the_rule_of_the_domain(address: IPv4Address):
    try:
        cells.address(str(address))
    except PydanticCustomError:
        assert not identifies_machine(address)
    else:
        assert identifies_machine(address)


@pytest.mark.parametrize("octet", range(256))
def test_the_short_way_agrees_for_every_first_octet(octet):
    test_the_short_way_for_addresses_agrees_with_the_rule_of_the_domain.hypothesis.inner_test(
        IPv4Address((octet << 24) + 1)
    )


@pytest.mark.parametrize(
    ("column", "text", "path", "value"),
    [
        ("asset_type", "虚拟机", "asset_type", "vm"),
        ("asset_type", "Physical", "asset_type", "physical"),
        ("protocol", "SSH", "access.protocol", "ssh"),
        ("port", "８０８０", "access.port", 8080),
        ("port", "22.0", "access.port", 22),
        ("credential_ref", "vault:kv/ops#root", "access.credential_ref", "vault:kv/ops#root"),
        ("cpu_cores", "8", "hardware.cpu_count", 8),
        ("memory_bytes", "17179869184", "hardware.memory_bytes", 17179869184),
        ("memory_mb", "512", "hardware.memory_bytes", 512 * 1024**2),
        ("memory_gb", "1.5", "hardware.memory_bytes", 3 * 1024**3 // 2),
        ("disk_total_gb", "200", "hardware.disk_total_bytes", 200 * 1024**3),
        ("os_family", "Debian", "os.family", "debian"),
        ("os_version", "22.10", "os.version", "22.10"),
        ("serial_number", "000123", "identity.serial_number", "000123"),
        ("hostname", "数据库-01", "identity.hostname", "数据库-01"),
        ("tags", "prod；db，db  x", "tags", ["prod", "db", "x"]),
        ("mac_addresses", "52-54-00-AB-CD-EF", "network.mac_addresses", ["52:54:00:ab:cd:ef"]),
        ("ip_addresses", "198.51.100.7, 127.0.0.1", "network.ip_addresses", ["192.0.2.1", "198.51.100.7", "127.0.0.1"]),
        ("custom_fields", '{"负责人": ["张三"], "n": 1}', "custom_fields", {"负责人": ["张三"], "n": 1}),
        ("custom__机柜", "007", "custom_fields", {"机柜": "007"}),
    ],
)
def test_a_good_cell_becomes_its_field(drop_row, column, text, path, value):
    outcome = drop_row(**{column: text})
    assert not outcome.faults
    found = outcome.records[0].document
    for part in path.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("column", "text", "code"),
    [
        ("hostname", "a b", "IMPORT_HOSTNAME_INVALID"),
        ("hostname", "x" * 254, "IMPORT_HOSTNAME_INVALID"),
        ("hostname", "1.23457E+11", "IMPORT_HOSTNAME_INVALID"),
        ("asset_type", "container", "IMPORT_CHOICE_INVALID"),
        ("protocol", "telnet", "IMPORT_CHOICE_INVALID"),
        ("port", "0", "IMPORT_NUMBER_INVALID"),
        ("port", "65536", "IMPORT_NUMBER_INVALID"),
        ("port", "ssh", "IMPORT_NUMBER_INVALID"),
        ("cpu_cores", "0", "IMPORT_NUMBER_INVALID"),
        ("cpu_cores", "8核", "IMPORT_NUMBER_INVALID"),
        ("cpu_cores", "-4", "IMPORT_NUMBER_INVALID"),
        ("memory_bytes", "17,179,869,184", "IMPORT_NUMBER_INVALID"),
        ("memory_bytes", "1.71799E+10", "IMPORT_NUMBER_INVALID"),
        ("memory_bytes", str(2**63), "IMPORT_NUMBER_INVALID"),
        ("memory_gb", "16GB", "IMPORT_NUMBER_INVALID"),
        ("memory_gb", "0.0000000001", "IMPORT_NUMBER_INVALID"),
        ("memory_gb", "0", "IMPORT_NUMBER_INVALID"),
        ("serial_number", "1.23457E+11", "IMPORT_EXCEL_VALUE"),
        ("vendor", "x" * 1025, "IMPORT_TEXT_INVALID"),
        ("custom__x", "x" * 4097, "IMPORT_TEXT_INVALID"),
        ("tags", "x" * 65, "IMPORT_TAG_INVALID"),
        ("mac_addresses", "00:00:00:00:00:00", "IMPORT_ADDRESS_INVALID"),
        ("mac_addresses", "52:54:00:ab:cd", "IMPORT_ADDRESS_INVALID"),
        ("ip_addresses", "192.0.2.7 192.0.2.999", "IMPORT_ADDRESS_INVALID"),
        ("credential_ref", "hunter2", "IMPORT_CREDENTIAL_INVALID"),
        ("credential_ref", "env:", "IMPORT_CREDENTIAL_INVALID"),
        ("credential_ref", "env:A B", "IMPORT_CREDENTIAL_INVALID"),
        ("custom_fields", "owner=me", "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", "[1]", "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", '{"a": NaN}', "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", '{"a": 1e999}', "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", '{"a": 1, "a": 2}', "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", '{"a": "\\u0000"}', "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", '{"a": "\\ud800"}', "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", '{"a":' * 30 + "1" + "}" * 30, "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", '{"a":' + "[" * 15_000 + "]" * 15_000 + "}", "IMPORT_CUSTOM_FIELDS_INVALID"),
        ("custom_fields", '{"a": {"password": "x"}}', "IMPORT_SECRET_VALUE"),
        ("custom_fields", '{"pa\\u0073sword": "x"}', "IMPORT_SECRET_VALUE"),
        ("vendor", "a\x00b", "IMPORT_CONTROL_CHARACTER"),
        ("custom__x", "a\x07b", "IMPORT_CONTROL_CHARACTER"),
    ],
)
def test_a_bad_cell_is_refused_alone_and_by_its_column(drop_row, column, text, code):
    outcome = drop_row(**{column: text})
    assert outcome.faults == [(2, column.replace("custom__", "custom."), code)]
    assert not outcome.records
    assert "\x00" not in (outcome.rejected[0].cells[0].value or "")


def test_a_blank_cell_is_not_reported_and_never_zero(drop_row):
    (record,) = drop_row(cpu_cores="  ", memory_gb="", os_family="", port="", custom__x=" ", tags="").records
    assert record.document["unknown"] == {
        "hardware.cpu_count": "NOT_REPORTED",
        "hardware.memory_bytes": "NOT_REPORTED",
        "hardware.disk_total_bytes": "NOT_REPORTED",
        "os.family": "NOT_REPORTED",
        "os.version": "NOT_REPORTED",
    }
    assert not {"hardware", "os", "access", "custom_fields", "tags", "asset_type"} & record.document.keys()


def test_every_bad_cell_of_a_row_is_reported_and_not_only_the_first(drop_row):
    outcome = drop_row(mgmt_ip="x", hostname="a b", port="0", cpu_cores="many", custom_fields="{", asset_type="?")
    assert {column for _, column, _ in outcome.faults} == {
        "mgmt_ip", "hostname", "port", "cpu_cores", "custom_fields", "asset_type",
    }  # fmt: skip


def test_one_custom_field_said_twice_is_refused(drop_row):
    outcome = drop_row(custom_fields=json.dumps({"owner": "a"}), custom__owner="b")
    assert outcome.faults == [(2, "custom_fields", "IMPORT_CUSTOM_FIELDS_INVALID")]


def test_placeholder_serials_and_shared_addresses_are_kept_but_identify_nobody(drop_row):
    (record,) = drop_row(serial_number="Default string", ip_addresses="127.0.0.1 fe80::1").records
    assert record.document["identifiers"] == [{"kind": "ip", "value": "192.0.2.1"}]
    assert record.document["identity"]["serial_number"] == "Default string"


@pytest.mark.parametrize(("text", "spelled"), [("db\u202e10-bd", "dbU+202E10-bd"), ("db\ue000", "dbU+E000")])
def test_a_host_name_that_cannot_be_seen_is_refused_and_spelled_out(drop_row, text, spelled):
    (row,) = drop_row(hostname=text).rejected
    assert row.cells[0].code.code == "IMPORT_HOSTNAME_INVALID"
    assert row.cells[0].reason == f"'{spelled}' has a character in it that nobody can see: type it anew"


@pytest.mark.parametrize("text", ["99999999999999999999", "-1", "1" * 500])
def test_a_number_out_of_bounds_is_told_the_bounds(drop_row, text):
    (row,) = drop_row(cpu_cores=text).rejected
    assert "is not between 1 and " in row.cells[0].reason
    assert len(row.cells[0].reason) < 200


def test_a_json_number_of_thousands_of_digits_is_refused_in_words_of_ours(drop_row):
    (row,) = drop_row(custom_fields='{"n": ' + "9" * 5000 + "}").rejected
    assert row.cells[0].reason == "this JSON cannot be kept: a number has more than 4,000 digits"
