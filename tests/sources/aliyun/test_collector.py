"""Whole readings of the double: what is asked, what comes of it, and what happens while it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_ledger.domain.errors import INVENTORY_INCOMPLETE, IncompleteError
from asset_ledger.domain.inventory import AssetRecord, Caution, Proof, UnchangedRecord
from asset_ledger.sources.aliyun import PLATFORM
from asset_ledger.sources.aliyun.collector import MOST_LOOKED_UP
from asset_ledger.sources.platform import ReadOrder
from tests.doubles.aliyun import AliyunDouble, Cloud, generated
from tests.doubles.aliyun.principals import ACCOUNT_ID
from tests.patience import FOREVER_S, soon
from tests.sources.aliyun.live import collector, complete, read

BEIJING = "DescribeInstances cn-beijing"


def test_every_instance_of_every_region_is_read_once(aliyun: AliyunDouble) -> None:
    found = complete(read(aliyun))
    assert found.assets.keys() == aliyun.cloud.instances.keys()
    assert sorted(found.targets[:-1]) == sorted(aliyun.cloud.regions)
    assert found.targets[-1] == "account"
    assert found.cautions == []
    assert all(document["unknown"].keys().isdisjoint({"relations"}) for document in found.assets.values())


def test_each_region_is_asked_for_its_rights_first_and_the_list_of_regions_twice(aliyun: AliyunDouble) -> None:
    complete(read(aliyun, parallel=1))
    names = aliyun.requests.names()
    assert names[0] == names[-1] == "DescribeRegions"
    for region in aliyun.cloud.regions:
        asked = [request.name for request in aliyun.requests.all(f"* {region}")]
        assert asked[:2] == ["DryRun:DescribeInstances", "DescribeInstances"]
        # where nothing is, nothing has disks
        assert asked[2:] == ([] if region == "ap-southeast-1" else ["DescribeDisks"])


def test_what_was_received_is_kept_as_it_came_with_the_ids_of_the_requests(aliyun: AliyunDouble) -> None:
    found = complete(read(aliyun))
    every = found.bytes.decode()
    for request in aliyun.requests.all():
        assert request.request_id in every
    assert not any(raw.redacted for raw in found.records)


def test_pages_are_as_large_as_they_may_be_and_read_to_the_end() -> None:
    with AliyunDouble(generated(2, 230, disks=3)) as aliyun:
        found = complete(read(aliyun))
        assert len(found.assets) == 460
        assert found.proof.counts["pages"] == 6
        assert aliyun.requests.count("DescribeInstances") == 6
        assert aliyun.requests.count("DescribeDisks") == 4
        assert {document["hardware"]["disk_total_bytes"] for document in found.assets.values()} == {440 << 30}


def test_a_reading_of_the_same_gives_the_same_digests_and_only_what_changed_is_new(aliyun: AliyunDouble) -> None:
    first = complete(read(aliyun))
    known = {item.record_digest: item.external_id for item in first.items if isinstance(item, AssetRecord)}
    aliyun.cloud.change("i-bp1web000000000000002", name="web-two")
    aliyun.cloud.create_disk("d-new", size_gib=10, instances=("i-bp1spot00000000000001",))
    second = complete(read(aliyun))
    items = [item for raw in second.records for item in PLATFORM.parse(raw, known)]
    assert {item.external_id for item in items if isinstance(item, AssetRecord)} == {
        "i-bp1web000000000000002",
        "i-bp1spot00000000000001",
    }
    assert sum(isinstance(item, UnchangedRecord) for item in items) == len(known) - 2


def test_an_instance_that_is_made_between_two_pages_is_read_the_next_time_and_nothing_is_lost() -> None:
    with AliyunDouble(generated(1, 250)) as aliyun:
        before = set(aliyun.cloud.instances)
        aliyun.on("DescribeInstances", lambda cloud: cloud.create("i-late", disk_gib=40))
        assert complete(read(aliyun)).assets.keys() == before
        assert complete(read(aliyun)).assets.keys() == before | {"i-late"}


def test_an_instance_that_goes_between_two_pages_takes_no_other_with_it() -> None:
    with AliyunDouble(generated(1, 250)) as aliyun:
        before = set(aliyun.cloud.instances)
        gone = max(before)
        aliyun.on("DescribeInstances", lambda cloud: cloud.delete(gone))
        found = complete(read(aliyun, known=before))
        assert found.assets.keys() | {gone} == before


def test_a_region_that_opens_or_closes_while_reading_makes_it_no_whole_reading(aliyun: AliyunDouble) -> None:
    aliyun.on(BEIJING, lambda cloud: cloud.add_region("na-south-1"))
    found = read(aliyun)
    assert isinstance(found.error, IncompleteError)
    assert found.error.code is INVENTORY_INCOMPLETE
    assert "na-south-1" in found.error.message
    assert found.error.proof["missing"]
    complete(read(aliyun))
    aliyun.on("DryRun:*", lambda cloud: cloud.remove_region("na-south-1"))
    assert read(aliyun).error is not None


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeDisks"])
def test_a_token_that_dies_begins_the_list_anew_and_not_the_page(action: str) -> None:
    with AliyunDouble(generated(1, 260, disks=4)) as aliyun:
        aliyun.faults.add(action, "expire_token", where={"NextToken": "?*"}, after=1)
        found = complete(read(aliyun))
        assert len(found.assets) == 260
        assert found.proof.counts["restarts"] == 1
        tokens = [request.parameters.get("NextToken", "") for request in aliyun.requests.all(action)]
        assert [bool(token) for token in tokens] == [False, True, True, False, True, True]
        assert {document["hardware"]["disk_total_bytes"] for document in found.assets.values()} == {640 << 30}


def test_tokens_that_always_die_end_the_reading_and_only_the_sizes_where_they_are_of_disks() -> None:
    with AliyunDouble(generated(1, 150, disks=4)) as aliyun:
        aliyun.token_lifetime = -1.0
        found = read(aliyun)
        assert found.error is not None
        assert found.error.code.code == "ALIYUN_NETWORK_ERROR"
        assert "died 3 times" in found.error.message
        aliyun.token_lifetime = None
        aliyun.faults.add("DescribeDisks", "expire_token", where={"NextToken": "?*"}, times=None)
        found = complete(read(aliyun))
        assert [code for code, _ in found.cautions] == ["ALIYUN_DISKS_UNAVAILABLE"]
        assert not any("disk_total_bytes" in document["hardware"] for document in found.assets.values())


def test_what_came_twice_is_read_again_and_whole_then(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(BEIJING, "repeat")
    found = complete(read(aliyun))
    assert found.proof.counts["restarts"] == 1
    assert found.assets.keys() == aliyun.cloud.instances.keys()


def test_what_passes_while_reading_is_tried_again(aliyun: AliyunDouble) -> None:
    for kind in ("close", "reset", "cut"):
        aliyun.faults.add("Describe* cn-hangzhou", kind)
    aliyun.faults.add(BEIJING, "throttle", times=3)
    aliyun.faults.add("DryRun:*", "status", status=503)
    found = complete(read(aliyun))
    assert found.assets.keys() == aliyun.cloud.instances.keys()
    assert found.proof.counts["rate_limited"] == 3


def test_instances_that_the_ledger_knows_are_asked_for_before_they_are_missing(aliyun: AliyunDouble) -> None:
    known = [*aliyun.cloud.instances, "i-gone"]
    found = complete(read(aliyun, known=known))
    assert found.proof.counts["known_not_listed"] == {"known": 1, "asked_for": 1}
    asked = [one for one in aliyun.requests.all("DescribeInstances") if "InstanceIds" in one.parameters]
    assert sorted(one.region for one in asked) == sorted(aliyun.cloud.regions)
    assert {one.parameters["InstanceIds"] for one in asked} == {'["i-gone"]'}


def test_nothing_is_asked_for_where_nothing_is_missing(aliyun: AliyunDouble) -> None:
    complete(read(aliyun, known=aliyun.cloud.instances))
    assert not [one for one in aliyun.requests.all() if "InstanceIds" in one.parameters]


def test_a_question_after_known_instances_that_is_not_answered_stands_against_nothing(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(BEIJING, "status", status=503, times=None, where={"InstanceIds": "?*"})
    found = complete(read(aliyun, known=["i-gone"]))
    assert b'"silent":["cn-beijing"]' in found.records[-1].body


def test_so_many_known_instances_are_asked_for_and_more_are_not_proven() -> None:
    with AliyunDouble(Cloud(["cn-hangzhou"])) as aliyun:
        known = [f"i-{number:05d}" for number in range(MOST_LOOKED_UP + 50)]
        found = read(aliyun, known=known)
        assert found.error is not None
        assert "of 1050 known instances that are in no list only 1000 were asked for" in found.error.message
        assert aliyun.requests.count("DescribeInstances") == 11


def test_regions_are_read_at_once_and_no_more_of_them_than_allowed() -> None:
    with AliyunDouble(generated(8, 3)) as aliyun:
        aliyun.latency = 0.03
        complete(read(aliyun, parallel=4))
        rows = aliyun.requests.all("D*Instances *")
        times = [(one.started, one.finished or one.started) for one in rows]
        at_once = [sum(began <= moment < ended for began, ended in times) for moment, _ in times]
        assert 2 <= max(at_once) <= 4


def test_a_reading_that_is_given_up_ends_its_requests(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(BEIJING, "stall_before", seconds=FOREVER_S, times=None)
    records = collector(aliyun, timeout_ms=120_000).collect(ReadOrder())
    next(records)
    with soon():
        records.close()  # type: ignore[attr-defined]


def test_a_reading_that_is_over_asks_nothing_more(aliyun: AliyunDouble) -> None:
    one = collector(aliyun)
    for _ in one.collect(ReadOrder()):
        pass
    made = aliyun.requests.count()
    assert len(list(one.collect(ReadOrder()))) == 4, "one instance serves another run"
    assert aliyun.requests.count() == 2 * made


def test_a_check_says_what_is_open_and_lists_nothing(aliyun: AliyunDouble) -> None:
    health = collector(aliyun, exclude_regions=["cn-beijing", "us-east-1"]).healthcheck(ReadOrder())
    assert health.ok
    assert health.checks == {
        "endpoint": f"{aliyun.host} answers",
        "account": "AccessKey",
        "identity": f"RAMUser {aliyun.user.arn} of account {ACCOUNT_ID}",
        "tls": "ca_file",
        "regions": "2 of 3",
        "instances": "may be listed in 2 of 2 regions",
        "disks": "may be listed in 2 of 2 regions",
        "exclude_regions": "Aliyun lists no us-east-1",
    }
    assert aliyun.requests.count("DescribeInstances") == aliyun.requests.count("DescribeDisks") == 0
    none = collector(aliyun, exclude_regions=list(aliyun.cloud.regions)).healthcheck(ReadOrder())
    assert none.problems == ("ALIYUN_CONFIG_INVALID: exclude_regions leaves no region to read",)


def test_a_check_names_each_region_that_is_closed(aliyun: AliyunDouble) -> None:
    aliyun.user.deny("DescribeInstances", "cn-*")
    health = collector(aliyun).healthcheck(ReadOrder())
    assert not health.ok
    assert sorted(problem.split()[2].rstrip(":") for problem in health.problems) == ["cn-beijing", "cn-hangzhou"]
    assert health.checks["instances"] == "may be listed in 1 of 3 regions"


def test_detect_says_who_reads_what_and_through_which_servers(aliyun: AliyunDouble) -> None:
    found = collector(aliyun, exclude_regions=["cn-beijing", "us-east-1"]).detect(ReadOrder())
    assert found.target_version == "2014-05-26"
    assert found.driver == "ecs 2014-05-26 ACS3-HMAC-SHA256"
    assert found.capabilities == {
        "account": "AccessKey",
        "account_id": ACCOUNT_ID,
        "identity": f"RAMUser {aliyun.user.arn} of account {ACCOUNT_ID}",
        "regions": ["cn-hangzhou", "ap-southeast-1"],
        "regions_left_out": ["cn-beijing"],
        "servers": [aliyun.host],
        "address_zone": "vpc",
    }
    assert "us-east-1" in found.advice


def test_a_region_may_be_named_in_the_server(aliyun: AliyunDouble) -> None:
    with aliyun.resolving():
        found = complete(read(aliyun, tls_verify=False, endpoint=aliyun.region_host_endpoint))
    assert found.assets.keys() == aliyun.cloud.instances.keys()
    by_region = {one.region: one.addressed for one in aliyun.requests.all("D*Instances *")}
    assert by_region == {region: region for region in aliyun.cloud.regions}


def test_an_account_without_instances_is_a_whole_reading() -> None:
    with AliyunDouble(Cloud(["cn-hangzhou", "cn-beijing"])) as aliyun:
        found = complete(read(aliyun))
        assert found.assets == {}
        assert found.proof.counts["dry_run_passed"] == 2


def test_instances_that_a_policy_hides_pass_unseen_and_the_docs_say_so(aliyun: AliyunDouble) -> None:
    hidden = "i-bp1web000000000000001"
    aliyun.user.hide([hidden])
    found = complete(read(aliyun, known=[hidden]))
    assert hidden not in found.assets
    page = (Path(__file__).parents[3] / "docs" / "platforms" / "aliyun.md").read_text(encoding="utf-8")
    assert "policy on single instances" in page


def test_an_address_that_moves_is_no_identifier_of_either(aliyun: AliyunDouble) -> None:
    first, second = "i-bp1web000000000000001", "i-bp1web000000000000002"
    before = complete(read(aliyun)).assets
    eip = before[first]["custom_fields"]["eip"]
    aliyun.cloud.move_eip(eip, second)
    after = complete(read(aliyun)).assets
    assert "eip" not in after[first]["custom_fields"]
    assert after[second]["custom_fields"]["eip"] == eip
    for document in (before[first], after[first], after[second]):
        assert {"kind": "ip", "value": eip} not in document["identifiers"]
        assert document["identity"]["mgmt_ip"] != eip
    assert before[first]["identifiers"] == after[first]["identifiers"]


def test_two_machines_with_one_address_are_told_apart_by_their_vpc(aliyun: AliyunDouble) -> None:
    found = complete(read(aliyun)).assets
    one, other = (found[f"i-bp1web00000000000000{number}"]["identity"] for number in (1, 2))
    assert one["mgmt_ip"] == other["mgmt_ip"] == "172.16.0.10"
    assert one["zone"] != other["zone"]
    plain = complete(read(aliyun, address_zone="source")).assets
    assert all("zone" not in document["identity"] for document in plain.values())
    classic = plain["i-23classic0001"]["identity"]
    assert classic["mgmt_ip"] == "10.169.1.23"


def test_a_region_that_may_be_read_and_fails_in_the_middle_leaves_its_evidence(aliyun: AliyunDouble) -> None:
    aliyun.faults.add(BEIJING, "error", code="Account.Arrearage", status=400, times=None)
    found = read(aliyun)
    [beijing] = [raw for raw in found.records if raw.target == "cn-beijing"]
    assert beijing.document["error"] == {"code": "ALIYUN_API_ERROR", "message": beijing.document["error"]["message"]}
    assert b"Account.Arrearage" in beijing.body
    assert [item for item in PLATFORM.parse(beijing, {}) if not isinstance(item, Caution)] == []


def test_the_measure_counts_what_the_proof_has(aliyun: AliyunDouble) -> None:
    proof = complete(read(aliyun)).proof
    assert isinstance(proof, Proof)
    assert all(measure.counted in proof.counts for measure in PLATFORM.measures)
