"""Which machine a database instance runs on: the rules, what each is worth, and how evidence reads in words.

Pure. `store.derive.links` applies the rules to the ledger, set by set; the command line prints the words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Evidence = Mapping[str, Any]
Names = Callable[[str], str]
"""From the id of a ledger asset to what people call it."""

CONFIDENCE = {"mgmt_ip": 95, "ip_identifier": 85, "hostname": 70, "alias": 60}
"""The seed's rules and what each is worth, 0 to 100. `person` and `former_ip` have their own figures below."""
STRONG = 85
"""From here on a rule is strong: the only strong candidate of an instance is confirmed without a person."""
PERSON = 100
"""What a person's confirmation is worth, whatever evidence there is. A rejection is worth 0."""
FORMER_DAYS = (7, 30, 90, 365)
FORMER_CONFIDENCE = (40, 30, 20, 10, 5)
"""What an address that moved away is still worth: 40 for less than 7 days, 30 for less than 30, and so on. Always less
than a name, and never nothing: the evidence stays."""
FORMER_KEPT = 10
"""How many former holders of an address are kept as candidates, the latest first: leases pass through many hands."""
SHARED_TOO_WIDELY = 20
"""What more machines than this bear (the name `localhost`, a bridge's address) says nothing of any of them."""


def in_words(rule: str, evidence: Evidence, names: Names) -> list[str]:
    """Return what speaks for a link, one statement an item, the strongest first, then what a person decided."""
    said = list(_hit({**evidence, "rule": rule}, names)) if "matched" in evidence else []
    for other in evidence.get("also", ()):
        said += _hit(other, names)
    if not said:
        said.append("no rule speaks for it any more")
    if decision := evidence.get("decision"):
        said.append(decided(decision))
    return said


def decided(decision: Mapping[str, Any]) -> str:
    """Return who decided what about a link and when: `rejected by li.lei on 2026-11-03 (old host)`."""
    note = f" ({decision['note']})" if decision.get("note") else ""
    return f"{decision['value'] or 'cleared'} by {decision['actor']} on {_day(decision['decided_at'])}{note}"


def why(status: str, rule: str, evidence: Evidence, names: Names) -> str:
    """Return why a link is what it is, in one sentence."""
    if rule == "person":
        return f"a person {status} it"
    if status == "confirmed":
        return "the only machine with the address" + (" that nobody rejected" if "also_held_by" in evidence else "")
    if person := evidence.get("confirmed_on"):
        return f"a person confirmed {names(person)}"
    if rule == "former_ip":
        return "it no longer has the address" if "missing_since" not in evidence else "the machine is missing"
    if CONFIDENCE[rule] >= STRONG:
        return f"{evidence['strong']} machines have its address: a person must say which"
    return "a name alone is not enough: a person must say"


def _hit(hit: Evidence, names: Names) -> Iterator[str]:
    matched, sources = hit["matched"], ", ".join(hit.get("sources", ()))
    told = "the instance's host" if hit["field"] == "host" else "the instance's name, which need not be its machine's,"
    rule = hit["rule"] if hit["rule"] != "person" else hit["by_rule"]
    match rule:
        case "mgmt_ip":
            carried = f", last known on {hit['carried_from']}" if "carried_from" in hit else ""
            text = f"{matched} is its management address{carried}"
        case "ip_identifier":
            text = f"{matched} is one of its addresses ({sources})"
        case "former_ip" if "missing_since" in hit:
            text = f"{matched} was its address; the machine is missing since {_day(hit['missing_since'])}"
        case "former_ip":
            text = f"{matched} was its address until {_day(hit['last_seen_at'])} ({hit['source']})"
        case "hostname":
            text = f"{told} {matched} is its hostname"
        case _:
            text = f"{told} {matched} is one of its names"
    if others := hit.get("held_now_by"):
        text += f"; {_all(others, names)} {_have(others)} it now"
    if others := hit.get("also_held_by"):
        text += f"; {_all(others, names)} {_have(others)} it too"
    if through := hit.get("through"):
        text += f"; through {_all(through, names)}, merged into it"
    yield text


def _all(ids: list[str], names: Names) -> str:
    return ", ".join(sorted(names(each) for each in ids))


def _have(ids: list[str]) -> str:
    return "has" if len(ids) == 1 else "have"


def _day(instant: Any) -> str:
    return str(instant)[:10]
