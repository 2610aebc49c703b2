"""What a reading of Hyper-V proves: each thing that stands against it, and that nothing does where all is well."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import ErrorCode, PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, Proof, TargetFailure
from asset_ledger.sources.hyperv import errors
from asset_ledger.sources.hyperv.evidence import Evidence, Sight, no_sight
from asset_ledger.sources.hyperv.parse import parse
from asset_ledger.sources.hyperv.proof import failures, prove
from asset_ledger.sources.hyperv.raw import read_evidence
from tests.sources.hyperv import kept


def lost(node: str, code: ErrorCode = errors.TIMEOUT, sweep: int = 1, address: str = "") -> Sight:
    return no_sight(
        node,
        address=address or f"{node}.example.com:5986",
        sweep=sweep,
        ask="own",
        at=kept.AT,
        code=code,
        message="no connection within 5 s",
    )


def test_a_host_and_a_cluster_that_were_read_as_they_should_be_are_proven() -> None:
    for evidence in (kept.standalone(kept.vm(1)), kept.standalone(), kept.pair()):
        verdict = prove(evidence)
        assert verdict.proof.missing == verdict.denied == verdict.incomplete == ()
    assert prove(kept.pair()).proof.counts["virtual_machines"] == 2


def test_a_replica_is_counted_and_is_no_machine() -> None:
    counts = prove(
        kept.standalone(kept.vm(1), kept.vm(2, state=3, replication_mode=2), kept.vm(3, state=3, replication_mode="4"))
    ).proof.counts
    assert (counts["virtual_machines"], counts["replicas"]) == (1, 2)
    assert counts["hosts"]["hv1"]["listed"] == 3


def test_an_empty_list_without_the_right_group_is_no_empty_inventory() -> None:
    verdict = prove(kept.standalone(host=kept.host("hv1", groups=["S-1-5-32-545", "S-1-5-32-580"])))
    assert not verdict.proof.complete
    assert "not in Hyper-V Administrators (S-1-5-32-578) on hv1" in verdict.denied[0]
    assert "Add-LocalGroupMember" in verdict.denied[0]


@pytest.mark.parametrize(
    "told", [{"groups": ["S-1-5-32-544"]}, {"groups": "S-1-5-32-578"}, {"groups": [], "is_admin": True}]
)
def test_whoever_sees_everything_may_see_nothing(told: dict[str, object]) -> None:
    assert prove(kept.standalone(host=kept.host("hv1", **told))).proof.complete


Spoil = Callable[[Evidence], None]


def sight(place: int, **changed: object) -> Spoil:
    def spoil(evidence: Evidence) -> None:
        evidence.sights[place] = replace(evidence.sights[place], **changed)  # type: ignore[arg-type]

    return spoil


def drop(*places: int) -> Spoil:
    def spoil(evidence: Evidence) -> None:
        evidence.sights[:] = [one for place, one in enumerate(evidence.sights) if place not in places]

    return spoil


def untold(error: Mapping[str, object]) -> Spoil:
    def spoil(evidence: Evidence) -> None:
        told = kept.answer("hv1", [], "whole", cluster=kept.cluster(error=error)).cluster
        evidence.sights[:] = [replace(one, cluster=told) for one in evidence.sights]

    return spoil


def fail(place: int, code: ErrorCode) -> Spoil:
    def spoil(evidence: Evidence) -> None:
        evidence.sights[place] = lost(evidence.sights[place].node, code)

    return spoil


def also(node: str, state: int) -> Spoil:
    def spoil(evidence: Evidence) -> None:
        told = kept.answer("hv2", [], "lists", cluster=kept.cluster({"hv1": 0, "hv2": 0, node: state}, {})).cluster
        evidence.sights[-1] = replace(evidence.sights[-1], cluster=told)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said", "denied"),
    [
        (sight(1, groups=()), "not in Hyper-V Administrators", True),
        (sight(2, second=None), "the second list of hv1 .* was not read", False),
        (sight(2, second=()), "Get-VM and WMI list other virtual machines on hv1", False),
        (sight(2, count=7), "hv1 counts 7 virtual machines and lists 1", False),
        (drop(3), "not read again after its nodes", False),
        (drop(2), "nobody looked a second time at hv1", False),
        (drop(1, 3), "node hv2 of the cluster was not read", False),
        (untold(kept.DENIED | {"where": "cluster"}), "Grant-ClusterAccess -User", True),
        (untold({"where": "cluster_module", "category": "NotInstalled"}), "RSAT-Clustering-PowerShell", False),
        (untold(kept.ERROR | {"where": "cluster"}), "`Get-Cluster` in a PowerShell", False),
        (untold(kept.ERROR | {"where": "cluster", "category": "AuthenticationError"}), "Grant-ClusterAccess", True),
        (also("hv3", 1), "node hv3 is down", False),
        (also("hv3", 0), "node hv3 of the cluster was not read", False),
        (fail(1, errors.AUTH_FAILED), "HYPERV_AUTH_FAILED", False),
        (fail(1, errors.PERMISSION_DENIED), "HYPERV_PERMISSION_DENIED", True),
    ],
)
def test_what_stands_against_a_clusters_reading_is_named(spoil: Spoil, said: str, denied: bool) -> None:
    evidence = kept.pair()
    spoil(evidence)
    if "AUTH" in said or "PERMISSION" in said:
        evidence.sights.pop(3)
    verdict = prove(evidence)
    pattern = re.compile(said)
    assert any(pattern.search(told) for told in (verdict.denied if denied else verdict.incomplete)), verdict
    assert not verdict.proof.complete


def test_a_machine_on_the_clusters_list_that_no_node_showed_is_named() -> None:
    evidence = kept.pair()
    told = kept.answer(
        "hv2", [], "lists", cluster=kept.cluster({"hv1": 0, "hv2": 0}, {1: "hv1", 2: "hv2", 7: "hv2"})
    ).cluster
    evidence.sights[-1] = replace(evidence.sights[-1], cluster=told)
    assert (
        "1 of the virtual machines on the lists were shown by no node that was read: app07"
        in prove(evidence).incomplete[0]
    )


def test_advice_about_roles_is_given_only_where_it_can_help() -> None:
    told = {"ids": [kept.vm_id(1), kept.vm_id(9)], "error": None}
    alone = prove(kept.standalone(kept.vm(1), second=told))
    assert any("shown by no node" in each for each in alone.incomplete)
    listed = kept.cluster({"hv1": 0, "hv2": 0}, {1: "hv1", 2: "hv2", 9: "hv2"})
    evidence = kept.pair(vms=listed["vms"])
    assert any("configuration resources online" in each for each in prove(evidence).incomplete)
    evidence.sights[1] = replace(evidence.sights[1], groups=())
    for verdict in (alone, prove(evidence)):
        assert "configuration resources" not in str(verdict.proof.missing)


def test_one_that_left_the_clusters_list_meanwhile_is_gone() -> None:
    evidence = kept.pair((1, 3), (2,))
    evidence.sights[2:] = kept.pair((1,), (2,)).sights[2:]
    assert prove(evidence).proof.complete


def test_what_the_ledger_knows_and_no_node_has_is_counted_as_gone() -> None:
    evidence = kept.pair()
    evidence.known = (kept.vm_id(1), kept.vm_id(9))
    verdict = prove(evidence)
    assert verdict.proof.complete
    assert verdict.proof.counts["known_and_not_seen"] == 1


def test_a_host_without_the_module_is_told_what_to_install() -> None:
    answer = kept.refused("hv1", {"where": "module", "category": "NotInstalled", "message": "no module"})
    assert answer.refusal is not None
    assert answer.refusal.code is errors.MODULE_MISSING
    verdict = prove(Evidence("auto", ("hv1",), (), [kept.sight(answer)]))
    assert "Install-WindowsFeature Hyper-V-PowerShell" in verdict.incomplete[0]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (kept.DENIED, errors.PERMISSION_DENIED),
        (kept.DENIED | {"id": "", "category": "PermissionDenied"}, errors.PERMISSION_DENIED),
        (kept.DENIED | {"category": "NotSpecified"}, errors.PERMISSION_DENIED),
        (kept.ERROR | {"numbers": [-2147024891]}, errors.PERMISSION_DENIED),
        (kept.ERROR | {"numbers": [2147749891]}, errors.PERMISSION_DENIED),
        (kept.ERROR | {"type": "System.UnauthorizedAccessException"}, errors.PERMISSION_DENIED),
        # WMI's status in ErrorCode, Windows' own within, one number that PowerShell unwrapped
        (kept.ERROR | {"numbers": [-2146233087, -2147217405]}, errors.PERMISSION_DENIED),
        (kept.ERROR | {"numbers": [-2146233088, -2147467259, 5]}, errors.PERMISSION_DENIED),
        (kept.ERROR | {"numbers": 5}, errors.PERMISSION_DENIED),
        (kept.ERROR | {"numbers": "5"}, errors.SCRIPT_FAILED),
        (kept.ERROR | {"category": "AuthenticationError"}, errors.SCRIPT_FAILED),
        (kept.ERROR, errors.SCRIPT_FAILED),
        ({}, errors.SCRIPT_FAILED),
    ],
)
def test_a_denial_is_known_by_its_numbers_and_not_by_its_words(error: dict[str, object], code: ErrorCode) -> None:
    refusal = kept.refused("hv1", error | {"where": "vms"}).refusal
    assert refusal is not None
    assert refusal.code is code


def test_an_entry_by_address_that_failed_does_not_stand_against_a_cluster_whose_nodes_all_answered() -> None:
    evidence = kept.pair()
    evidence.sights.insert(0, lost("192.0.2.99", address="192.0.2.99:5986"))
    assert prove(evidence).proof.complete
    assert failures(evidence) == {}


def test_a_single_host_that_did_not_answer_is_named_by_what_was_dialled() -> None:
    evidence = Evidence("auto", ("192.0.2.99",), (), [lost("192.0.2.99", address="192.0.2.99:5986")])
    assert "192.0.2.99 (192.0.2.99:5986) was not read: HYPERV_TIMEOUT" in prove(evidence).incomplete[0]
    assert [item for item in parse(kept.survey(evidence), {}) if isinstance(item, TargetFailure)] == []


def test_nothing_asked_proves_nothing() -> None:
    assert prove(Evidence("auto", ())).incomplete == ("no host was asked",)


def test_the_survey_tells_cluster_failures_duplicates_and_the_proof() -> None:
    evidence = kept.pair((1, 3), (2, 3))
    evidence.sights[-1] = replace(
        evidence.sights[-1],
        cluster=kept.answer(
            "hv2", [], "lists", cluster=kept.cluster({"hv1": 0, "hv2": 0, "hv3": 0, "hv4": 1}, {3: "hv1"})
        ).cluster,
    )
    evidence.sights.append(lost("hv3"))
    cautions = [{"code": "HYPERV_TLS_UNVERIFIED", "message": "hv1: not checked"}, {"code": "NO_SUCH"}, 7]
    items = list(parse(kept.survey(evidence, cautions=cautions), {}))
    record, first, second, third, fourth, proof = items
    assert isinstance(record, AssetRecord)
    assert (record.external_kind, record.external_id) == ("cluster", "hvclu")
    assert first == Caution(errors.TLS_UNVERIFIED, "hv1: not checked")
    assert isinstance(second, Caution)
    assert second.code is errors.DUPLICATE_ID
    assert "app03" in second.message
    assert "is on hv1 and on hv2; the one on hv1 was taken" in second.message
    assert isinstance(third, TargetFailure)
    assert (third.external_id, third.code) == ("hv3", errors.TIMEOUT)
    assert isinstance(fourth, TargetFailure)
    assert (fourth.external_id, fourth.code) == ("hv4", errors.NODE_UNREACHABLE)
    assert isinstance(proof, Proof)
    assert not proof.complete


def test_evidence_survives_being_kept() -> None:
    for evidence in (kept.pair((1, 3), (2, 3)), kept.standalone(second={"ids": None, "error": kept.DENIED})):
        evidence.sights.append(lost("hv9"))
        evidence.known = (kept.vm_id(5),)
        assert read_evidence(kept.survey(evidence)) == evidence


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_evidence_is_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    raw = kept.survey(kept.pair())
    told = json.loads(raw.body)
    target = told
    for _ in range(data.draw(st.integers(0, 4))):
        if isinstance(target, dict) and target:
            key = data.draw(st.sampled_from(sorted(target)))
        elif isinstance(target, list) and target:
            key = data.draw(st.integers(0, len(target) - 1))
        else:
            break
        if data.draw(st.booleans()) or not isinstance(target[key], dict | list):
            target[key] = data.draw(st.sampled_from([None, 1, "x", [], {}, [1], True, 1.5]))
            break
        target = target[key]
    damaged = replace(raw, body=json.dumps(told).encode())
    try:
        items = list(parse(damaged, {}))
    except PermanentError as refused:
        assert refused.code is errors.PARSE_ERROR  # noqa: PT017
    else:
        assert isinstance(items[-1], Proof)


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_evidence_cut_short_is_refused(part: float) -> None:
    raw = kept.survey(kept.pair())
    with pytest.raises(PermanentError) as refused:
        list(parse(replace(raw, body=raw.body[: int(len(raw.body) * part)]), {}))
    assert refused.value.code is errors.PARSE_ERROR
