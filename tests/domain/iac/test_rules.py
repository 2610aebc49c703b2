"""Which source reads a state's machines, and what is no finding: the first mapping and the last rule that match."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.iac.rules import Candidate, Ignored, Mapped, Rules, matches

TODAY = date(2026, 6, 1)
LAB = Mapped("acme", "pve_lab", ("shop/*",), None, None, None, True, ("proxmox", "proxmoxve"))
DRIFT = Candidate(
    "drift", "pve_lab", "shop/prod", 'module.a["x"].proxmox_vm_qemu.vm[0]', "proxmox_vm_qemu", "vm-1", "", "host"
)
ORPHAN = Candidate("orphan", "pve_lab", "", "", "", "tmp-7", "qemu/7", "")  # fmt: skip


def source(rules: Rules, **change: str) -> str | None:
    asked = {
        "tenant": "acme",
        "tool": "terraform",
        "state": "shop/prod",
        "provider": "bpg/proxmox",
        "alias": "",
    } | change
    found = rules.mapping(**asked)  # type: ignore[arg-type]
    return None if found is None else found.source


def test_the_first_mapping_that_speaks_of_a_provider_in_a_state_is_its() -> None:
    first, second = replace(LAB, states=("shop/prod",), source="first"), LAB
    assert source(Rules((first, second))) == "first"
    assert source(Rules((second, first))) == "pve_lab"
    assert source(Rules((first, second)), state="shop/test") == "pve_lab"


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "other"},
        {"state": "bank/prod"},
        {"state": "shop"},
        {"provider": "hashicorp/aws"},
        {"provider": "proxmox/aws"},
    ],
)
def test_a_mapping_does_not_speak_of_others(change: dict[str, str]) -> None:
    assert source(Rules((LAB,))) == "pve_lab"
    assert source(Rules((LAB,)), **change) is None


def test_where_no_provider_is_named_only_those_of_the_source_s_platform_are_meant() -> None:
    assert source(Rules((LAB,)), provider="pulumi/proxmoxve") == "pve_lab"
    assert source(Rules((LAB,)), provider="hashicorp/vsphere") is None
    assert source(Rules((replace(LAB, families=()),)), provider="hashicorp/vsphere") == "pve_lab"
    named = replace(LAB, provider="vsphere")
    assert source(Rules((named,)), provider="hashicorp/vsphere") == "pve_lab"
    assert source(Rules((named,))) is None


def test_a_provider_is_named_by_its_last_word_or_whole() -> None:
    assert source(Rules((replace(LAB, provider="proxmox"),)), provider="telmate/proxmox") == "pve_lab"
    whole = Rules((replace(LAB, provider="bpg/proxmox"),))
    assert source(whole) == "pve_lab"
    assert source(whole, provider="telmate/proxmox") is None


def test_tool_and_alias_are_any_unless_named_and_the_empty_alias_is_the_default_configuration() -> None:
    assert source(Rules((LAB,)), tool="pulumi", alias="east") == "pve_lab"
    narrow = Rules((replace(LAB, tool="pulumi", alias="east"),))
    assert source(narrow, tool="pulumi", alias="east") == "pve_lab"
    assert source(narrow, tool="pulumi") is None
    assert source(narrow, alias="east") is None
    default = Rules((replace(LAB, alias=""),))
    assert source(default) == "pve_lab"
    assert source(default, alias="east") is None


def test_without_a_rule_nothing_is_ignored() -> None:
    assert Rules().ignored(DRIFT, TODAY) is None


@pytest.mark.parametrize(
    "rule",
    [
        Ignored(kind="drift"),
        Ignored(source="pve_*"),
        Ignored(state="shop/*"),
        Ignored(address='module.a["x"].proxmox_vm_qemu.vm[0]'),
        Ignored(address="module.a*"),
        Ignored(type="proxmox_*"),
        Ignored(name="vm-?"),
        Ignored(attribute="host"),
        Ignored(kind="drift", attribute="h*", state="*/prod"),
        Ignored(attribute="host", until=TODAY),
    ],
)
def test_a_rule_matches_by_all_that_it_names(rule: Ignored) -> None:
    assert Rules(ignore=(rule,)).ignored(DRIFT, TODAY) is rule


@pytest.mark.parametrize(
    "rule",
    [
        Ignored(kind="orphan"),
        Ignored(source="vcenter"),
        Ignored(state="shop"),
        Ignored(address="module.a[x].proxmox_vm_qemu.vm0"),
        Ignored(address='module.a["x"].proxmox_vm_qemu.vm[1]'),
        Ignored(name="VM-1"),
        Ignored(external_id="*"),
        Ignored(kind="drift", attribute="cpu_cores"),
        Ignored(attribute="host", until=date(2026, 5, 31)),
    ],
)
def test_a_rule_does_not_match_where_one_thing_is_otherwise(rule: Ignored) -> None:
    assert Rules(ignore=(rule,)).ignored(DRIFT, TODAY) is None


def test_what_a_finding_does_not_have_matches_no_glob() -> None:
    for rule in (Ignored(state="*"), Ignored(address="*"), Ignored(type="*"), Ignored(attribute="*")):
        assert Rules(ignore=(rule,)).ignored(ORPHAN, TODAY) is None
    named = Ignored(external_id="qemu/*", name="tmp-*")
    assert Rules(ignore=(named,)).ignored(ORPHAN, TODAY) is named


def test_the_last_rule_that_matches_decides_and_keep_takes_back_in() -> None:
    all_hosts, but_vm1 = Ignored(attribute="host"), Ignored(name="vm-1", keep=True)
    again = Ignored(state="shop/*")
    assert Rules(ignore=(all_hosts, but_vm1)).ignored(DRIFT, TODAY) is None
    assert Rules(ignore=(but_vm1, all_hosts)).ignored(DRIFT, TODAY) is all_hosts
    assert Rules(ignore=(all_hosts, but_vm1, again)).ignored(DRIFT, TODAY) is again
    ended = replace(but_vm1, until=date(2026, 5, 31))
    assert Rules(ignore=(all_hosts, ended)).ignored(DRIFT, TODAY) is all_hosts


plain = st.text(st.sampled_from("ab/*?.\n+"), max_size=8)


@given(plain, plain)
def test_a_glob_is_fnmatch_s_but_for_brackets(glob: str, text: str) -> None:
    assert matches(glob, text) is fnmatchcase(text, glob)


@given(st.text(st.sampled_from("ab[]!-\\^$.{}()|"), max_size=12))
def test_every_other_sign_stands_for_itself(text: str) -> None:
    assert matches(text, text)
    assert not matches(text, text + "a")
