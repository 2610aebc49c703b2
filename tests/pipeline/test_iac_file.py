"""iac.yaml: what it says, what it may not say, and that a file that is gone does not read as "nothing is mapped"."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.iac.rules import EVERY_KIND, Hook, Ignored, Mapped, Rules
from asset_ledger.pipeline.iac_file import load
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings

PROJECT = Path(__file__).parents[2]
SOURCES = {"pve_lab": "pve", "vc_one": "vcenter", "cloud": "aliyun", "office": "import", "halls": "hyperv"}
WHOLE = """
mappings:
  - tenant: acme
    source: pve_lab
    states: ["shop/*", "web/prod"]
    tool: terraform
    provider: BPG/Proxmox
    alias: east
    orphans: false
  - {tenant: acme, source: office, provider: azurerm}
ignore:
  - {kind: drift, attribute: host, reason: "DRS moves machines"}
  - {kind: orphan, source: pve_lab, name: "tmp-*", until: 2026-12-31}
  - {address: "module.a[0].*", keep: true}
webhooks:
  - {name: tickets, url: "https://tickets.example/hook?team=1", credential_ref: "env:TICKETS"}
  - name: local
    url: http://[::1]:8080/hook
    credential_ref: file:hooks/local
    tenant: acme
    kinds: [drift, orphan]
    ca_file: hook-ca.pem
"""


def told(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "iac.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, SOURCES)


def wrong(tmp_path: Path, text: str) -> str:
    with pytest.raises(PermanentError) as caught:
        told(tmp_path, text)
    assert caught.value.code.code == "CONFIG_INVALID"
    assert caught.value.target == str(tmp_path / "iac.yaml")
    return str(caught.value)


def test_the_file_says_who_reads_whose_machines_what_is_ignored_and_who_is_told(tmp_path: Path) -> None:
    assert told(tmp_path, WHOLE) == Rules(
        (
            Mapped(
                "acme", "pve_lab", ("shop/*", "web/prod"), "terraform", "bpg/proxmox", "east", False,
                ("proxmox", "proxmoxve"),
            ),
            Mapped("acme", "office", ("*/*",), None, "azurerm", None, True, ()),
        ),
        (
            Ignored("drift", attribute="host", reason="DRS moves machines"),
            Ignored("orphan", source="pve_lab", name="tmp-*", until=date(2026, 12, 31)),
            Ignored(address="module.a[0].*", keep=True),
        ),
        (
            Hook("tickets", "https://tickets.example/hook?team=1", "env:TICKETS", None, EVERY_KIND, None),
            Hook("local", "http://[::1]:8080/hook", "file:hooks/local", "acme", ("drift", "orphan"), tmp_path / "hook-ca.pem"),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "mappings:\nignore: []\n"])
def test_a_file_without_entries_says_nothing(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, text) == Rules()


def test_a_file_that_is_not_there_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="there is no such file"):
        load(tmp_path / "iac.yaml", SOURCES)
    assert not installation(tmp_path).iac_file_is_there
    (tmp_path / "iac.yaml").write_text("")
    assert installation(tmp_path).iac_file_is_there


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mappings: [", "line 1, column 12"),
        ("mappings:\n- a: 1\n  a: 2", "line 3, column 3: the key `a` again"),
        ("[]", "the file: must be a mapping with `mappings`, `ignore`, `webhooks`"),
        ("mapings: []", "the file: 1 unknown key(s); there are `mappings`, `ignore`, `webhooks`"),
        ("mappings: {}", "mappings: must be a list"),
        ("mappings: [acme]", "mappings[0]: must be a mapping of keys"),
        ("mappings: [{source: pve_lab}]", "mappings[0].tenant: Field required"),
        ("mappings: [{tenant: Acme!, source: pve_lab}]", "mappings[0].tenant: "),
        ("mappings: [{tenant: acme, source: pve}]", "mappings[0].source: no source of sources.yaml has this name; there are: cloud, halls, office, pve_lab, vc_one"),
        ("mappings: [{tenant: acme, source: halls}]", "mappings[0].source: halls is a source of platform hyperv, and no provider's resources are compared with this platform yet; there are aliyun, pve, vcenter"),
        ("mappings: [{tenant: acme, source: halls, provider: aws}]", "mappings[0].source: halls is a source of platform hyperv"),
        ("mappings: [{tenant: acme, source: office}]", "mappings[0].provider: office is a source of platform import, which may see machines of every provider"),
        ("mappings: [{tenant: acme, source: pve_lab, states: []}]", "mappings[0].states: "),
        ("mappings: [{tenant: acme, source: pve_lab, states: shop/*}]", "mappings[0].states: "),
        ("mappings: [{tenant: acme, source: pve_lab, tool: ansible}]", "mappings[0].tool: "),
        ("mappings: [{tenant: acme, source: pve_lab, stack: x}]", "mappings[0].stack: unknown field"),
        ("ignore: [{reason: all of it}]", "ignore[0]: names nothing, so that it is about everything"),
        ("ignore: [{kind: ghost}]", "ignore[0].kind: "),
        ("ignore: [{name: ''}]", "ignore[0].name: "),
        ("ignore: [{kind: drift, attribute: cpu}]", "ignore[0].attribute: no attribute is called so; there are cpu_cores, "),
        ("ignore: [{kind: missing, attribute: host}]", "ignore[0].attribute: only drift has one, and the rule is about `missing`"),
        ("ignore: [{kind: orphan, address: '*'}]", "ignore[0].address: no orphan has one"),
        ("ignore: [{source: pve-*}]", "ignore[0].source: no source of sources.yaml has such a name"),
        ("ignore: [{name: x, until: soon}]", "ignore[0].until: "),
        ("webhooks: [{name: a, credential_ref: env:A}]", "webhooks[0].url: Field required"),
        ("webhooks: [{name: a, url: 'http://tickets.example', credential_ref: env:A}]", "webhooks[0].url: must begin with https://"),
        ("webhooks: [{name: a, url: 'https://me:pw@tickets.example', credential_ref: env:A}]", "webhooks[0].url: a user or password does not belong here"),
        ("webhooks: [{name: a, url: 'https://', credential_ref: env:A}]", "webhooks[0].url: must look like https://HOST/PATH"),
        ("webhooks: [{name: a, url: 'https://[x', credential_ref: env:A}]", "webhooks[0].url: is no URL"),
        ("webhooks: [{name: a, url: 'https://x:99999/', credential_ref: env:A}]", "webhooks[0].url: is no URL"),
        ("webhooks: [{name: a, url: 'file:///etc/passwd', credential_ref: env:A}]", "webhooks[0].url: must look like"),
        ("webhooks: [{name: a, url: 'https://x/', credential_ref: env:A, kinds: []}]", "webhooks[0].kinds: "),
        ("webhooks: [{name: A B, url: 'https://x/', credential_ref: env:A}]", "webhooks[0].name: "),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in wrong(tmp_path, text)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    said = wrong(tmp_path, "mappings: [{source: pve_lab}]\nignore: [{kind: ghost}]\nwebhooks: [{name: a}]\n")
    assert "4 problems:" in said
    assert all(place in said for place in ("mappings[0].tenant", "ignore[0].kind", "webhooks[0].url"))


def test_a_source_of_two_tenants_is_refused_with_both_named(tmp_path: Path) -> None:
    text = "mappings:\n- {tenant: acme, source: pve_lab}\n- {tenant: acme, source: vc_one}\n- {tenant: bank, source: pve_lab}"
    said = wrong(tmp_path, text)
    assert "mappings[2].tenant: the source pve_lab is bank's here and acme's in mappings[0]" in said


def test_whether_a_source_has_orphans_is_said_once_for_all_its_mappings(tmp_path: Path) -> None:
    entry = "{tenant: acme, source: pve_lab, states: [%s], orphans: %s}"
    said = wrong(tmp_path, f"mappings: [{entry % ('a/*', 'true')}, {entry % ('b/*', 'false')}]")
    assert "mappings[1].orphans: mappings[0] says otherwise of the source pve_lab" in said
    quiet = "{tenant: acme, source: pve_lab, states: [a/*]}"
    found = told(tmp_path, f"mappings: [{quiet}, {entry % ('b/*', 'false')}]")
    assert [one.orphans for one in found.mappings] == [False, False]


def test_two_hooks_of_one_name_are_refused(tmp_path: Path) -> None:
    hook = "{name: a, url: 'https://x/', credential_ref: env:A}"
    assert "webhooks[1].name: webhooks[0] is called so too" in wrong(tmp_path, f"webhooks: [{hook}, {hook}]")


@pytest.mark.parametrize(
    "entry",
    [
        "{name: a, url: 'https://x/', credential_ref: whsec_cGxhbnRlZHBsYW50ZWRwbGFudGVk}",
        "{name: a, url: 'https://x/', credential_ref: 'env:A', secret: whsec_cGxhbnRlZHBsYW50ZWRwbGFudGVk}",
        "{name: a, url: 'https://u:whsec_cGxhbnRlZHBsYW50ZWRwbGFudGVk@x/', credential_ref: 'env:A'}",
        "{name: whsec_cGxhbnRlZHBsYW50ZWRwbGFudGVk, url: 'https://x/', credential_ref: 'env:A'}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, entry: str) -> None:
    said = wrong(tmp_path, f"webhooks: [{entry}]")
    assert "webhooks[0]." in said
    assert "cGxhbnRl" not in said


def installation(tmp_path: Path, iac: Path | None = None) -> Ledger:
    (tmp_path / "sources.yaml").write_text(
        "sources: [{name: office, platform: import, inbox: inbox, enabled: false}]", encoding="utf-8"
    )
    return Ledger(Settings(tmp_path / "home", tmp_path / "sources.yaml", None, None, tmp_path, iac))


def test_the_ledger_reads_the_file_beside_its_sources_and_knows_disabled_ones(tmp_path: Path) -> None:
    assert installation(tmp_path).iac_rules == Rules()
    (tmp_path / "iac.yaml").write_text(
        "mappings: [{tenant: acme, source: office, provider: azurerm}]", encoding="utf-8"
    )
    assert [one.source for one in installation(tmp_path).iac_rules.mappings] == ["office"]


def test_a_file_that_somebody_named_and_that_is_gone_is_a_mistake(tmp_path: Path) -> None:
    named = tmp_path / "etc" / "rules.yaml"
    with pytest.raises(PermanentError, match="ASSET_LEDGER_IAC"):
        _ = installation(tmp_path, named).iac_rules
    named.parent.mkdir()
    named.write_text("mappings: [{tenant: acme, source: office, provider: azurerm}]", encoding="utf-8")
    assert len(installation(tmp_path, named).iac_rules.mappings) == 1


def test_the_example_says_what_it_can() -> None:
    found = load(PROJECT / "iac.example.yaml", {"pve_example": "pve", "vcenter_example": "vcenter"})
    assert found.mappings
    assert found.ignore
    assert found.hooks
