"""What the parts of a score are, and how they are said."""

from __future__ import annotations

import pytest

from asset_ledger.domain.duplicates import HIGHEST, LOWEST, PART_OF_CLASS, PARTS, reason

EVIDENCE = ("uuid", "serial", "mac", "mgmt_ip", "address")


def test_every_part_is_said_with_its_values_and_points() -> None:
    for name, rule in PARTS.items():
        told = reason({"part": name, "points": rule.points, "values": ["v1", "v2"]})
        assert told.endswith(f"({rule.points:+d})"), name
        assert ("v1, v2" in told) == ("{values}" in rule.words), name


@pytest.mark.parametrize("evidence", EVIDENCE)
def test_exact_evidence_outweighs_a_hostname_and_a_hostname_never_stands_alone(evidence: str) -> None:
    assert PARTS[evidence].points > PARTS["same_hostname"].points > 0
    assert "same_hostname" not in PART_OF_CLASS.values()


def test_a_clone_scores_less_than_a_machine_that_two_sources_tell_of() -> None:
    clone = sum(PARTS[part].points for part in ("uuid", "same_hostname", "other_mac", "side_by_side"))
    twice = sum(PARTS[part].points for part in ("uuid", "same_hostname", "mac"))
    assert LOWEST <= clone < twice
    assert clone < HIGHEST / 2 < twice
