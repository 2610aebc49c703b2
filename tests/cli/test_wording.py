"""Values of documents and proofs as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from asset_ledger.cli.probing import print_target_table, unread
from asset_ledger.cli.screen import show
from asset_ledger.cli.wording import difference_in_words, proof_in_words, value_in_words
from asset_ledger.sources.ssh.config import SshConfig
from asset_ledger.sources.winrm.config import WinrmConfig


def nic(name: str, *addresses: str, mac: str | None = None) -> dict[str, Any]:
    return {"name": name, "ip_addresses": list(addresses)} | ({"mac_address": mac} if mac else {})


def relation(kind: str, end: str) -> dict[str, str]:
    return {"kind": kind, "external_kind": "host", "external_id": end}


def test_only_the_interfaces_that_differ_are_told() -> None:
    before = [nic("net0", "192.0.2.1", mac="aa:bb"), nic("lo", "::1"), nic("old")]
    after = [nic("net0", "192.0.2.2", "192.0.2.3", mac="aa:bb"), nic("lo", "::1"), nic("new", "192.0.2.9")]
    assert difference_in_words("network.interfaces", before, after) == [
        ("interface", "net0 aa:bb 192.0.2.1", "net0 aa:bb 192.0.2.2 192.0.2.3"),
        ("interface", "old", "-"),
        ("interface", "-", "new 192.0.2.9"),
    ]
    again = [nic("b"), nic("a")]
    assert difference_in_words("network.interfaces", again[::-1], again) == [("network.interfaces", "a; b", "b; a")]


def test_relations_are_told_by_kind_and_by_name_where_there_is_one() -> None:
    before = [relation("runs_on", "host-1"), relation("member_of", "c")]
    after = [relation("runs_on", "host-2"), relation("member_of", "c")]
    names = {"host-1": "esx1"}
    told = difference_in_words("relations", before, after, lambda _, end: names.get(end))
    assert told == [("runs_on", "esx1", "host-2")]
    assert difference_in_words("relations", None, after[:1]) == [("runs_on", "-", "host-2")]
    assert value_in_words("relations", before) == "runs_on host-1; member_of c"
    assert difference_in_words("hardware.memory_bytes", None, 2**30) == [("hardware.memory_bytes", "-", "1 GiB")]


def test_sizes_that_differ_by_less_than_their_unit_shows_are_told_in_bytes() -> None:
    (told,) = difference_in_words("hardware.memory_bytes", 2**30, 2**30 + 1)
    assert told == ("hardware.memory_bytes", "1073741824", "1073741825")


def test_a_dictionary_in_a_cell_is_not_a_dash() -> None:
    assert (show({"n1": "AA"}), show({}), show([{"n1": 1}])) == ('{"n1": "AA"}', "-", '{"n1": 1}')


def test_a_proof_is_told_in_short() -> None:
    assert list(proof_in_words({})) == []
    counts = [{"guests": {"list": 7, "hidden": [*range(8)], "gone": []}, "requests": 3, "quorate": True}]
    assert list(proof_in_words({"complete": False, "missing": [*"abcdefg"], "counts": counts})) == [
        "not proven complete",
        *(f"  against it: {each}" for each in "abcde"),
        "  against it: 2 more; --json has them all",
        "  guests: list 7, hidden 0 1 2 3 4 and 3 more, gone none",
        "  requests 3, quorate yes",
    ]


def test_a_target_with_fields_that_are_null_says_where_to_read_on(capsys: pytest.CaptureFixture[str]) -> None:
    read = dict.fromkeys(("status", "error_code", "message", "advice", "effect", "duration_ms"))
    why = {
        "hardware.disk_total_bytes": "WINRM_QUERY_FAILED: Win32_LogicalDisk: WINRM_FAULT 5",
        "os.name": "NOT_REPORTED: x",
    }
    failed = read | {"target": "192.0.2.2", "status": "failed", "error_code": "WINRM_DNS", "details": {}}
    print_target_table([failed, read | {"target": "192.0.2.1", "status": "partial", "details": {"unknown": why}}])
    told = capsys.readouterr()
    assert "`asset-ledger errors CODE` says what to do about WINRM_QUERY_FAILED\n" in told.out + told.err
    print_target_table([failed, read | {"target": "192.0.2.1", "status": "ok", "details": {}}])
    told = capsys.readouterr()
    assert "asset-ledger errors" not in told.out + told.err


def test_ledger_assets_that_no_source_reads_are_told_by_protocol_and_zone() -> None:
    waiting = [("default", "local", 1), ("default", "ssh", 9), ("default", "winrm", 3), ("dmz", "ssh", 1)]
    ssh = SshConfig.model_validate({"name": "probe", "platform": "ssh"})
    advice = "where no source reads it: give sources.yaml one of platform"
    assert list(unread(waiting, [ssh])) == [
        f"3 ledger assets have protocol winrm in zone default, {advice} winrm",
        f"1 ledger asset has protocol ssh in zone dmz, {advice} ssh",
    ]
    there = [ssh, ssh.model_copy(update={"zone": "dmz"}), WinrmConfig(name="windows_hosts", platform="winrm")]
    assert list(unread(waiting, there)) == []
