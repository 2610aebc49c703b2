"""What agents say against a cluster that is read for real: what opens, ages, is unsure and closes, and who may see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.iac.rules import AGENT_KINDS, EVERY_KIND, Hook, Ignored, Mapped, Rules
from asset_ledger.pipeline import agent_findings
from asset_ledger.pipeline.agent_findings import Looked, compared_with
from asset_ledger.pipeline.iac_file import load
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.agents import clients
from asset_ledger.store.database import rows
from asset_ledger.store.decide import decisions
from asset_ledger.store.iac.found import FindingRow
from asset_ledger.store.iac.standing import is_compared
from asset_ledger.store.tenancy import as_tenant
from tests.pipeline.estate import MAPPED, SOURCE, Estate
from tests.pipeline.estate import estate as opened
from tests.pipeline.reporting import Reporting, reporting_on, source_of, today

LATER = timedelta(hours=1)
AS_IT_IS: dict[str, Any] = {"addresses": ["192.0.2.100/24"], "cores": 8, "mac": "bc:24:11:00:00:64"}
"""Of guest 100 of the double, which is called web1."""


@dataclass
class Watched:
    """A cluster, and the agents in its guests."""

    estate: Estate
    agents: Reporting
    rules: Rules

    def report(self, name: str = "web1", **said: Any) -> None:
        """Have the agent of guest 100 report, and take that in."""
        self.agents.report("web1", datetime.now(UTC), **{**AS_IT_IS, "hostname": name, **said})
        self.agents.run(today())

    def online(self, since: timedelta = timedelta(days=2), *, booted: datetime | None = None) -> None:
        """Have the agent be there since so long."""
        self._client("status = 'online', last_connected_at = now() - %s", since)
        if booted is not None:
            self._latest("raw_data = jsonb_set(raw_data, '{host,boot_time}', %s::text::jsonb)", int(booted.timestamp()))

    def silent(self, since: timedelta) -> None:
        """Have the agent be gone for so long."""
        self._client("status = 'offline', status_at = now() - %(ago)s, last_seen = now() - %(ago)s", {"ago": since})
        self._latest("received_at = now() - %s", since)

    def _client(self, what: str, value: Any) -> None:
        told = value if isinstance(value, dict) else [value]
        with as_tenant(self.estate.connection, self.agents.tenant_id):
            self.estate.connection.execute(f"UPDATE agent.clients SET {what}", told)

    def _latest(self, what: str, value: Any) -> None:
        with as_tenant(self.estate.connection, self.agents.tenant_id):
            self.estate.connection.execute(f"UPDATE agent.inventory_latest SET {what}", [value])

    def check(self, after: timedelta = LATER, *, sources: tuple[SourceConfig, ...] | None = None) -> Looked:
        """Look, so long from now, and return what came of the tenant acme."""
        every = (self.agents.source, self.estate.source) if sources is None else sources
        now = datetime.now(UTC) + after
        found = agent_findings.evaluate(self.estate.connection, every, self.rules, now=now)
        return next(one for one in found if one.tenant == "acme")

    def open(self) -> dict[tuple[str, str], FindingRow]:
        return {(one.kind, one.attribute): one for one in self.estate.findings(kinds=AGENT_KINDS)}

    def closed(self) -> list[str | None]:
        """Return why findings closed, the one that opened first first."""
        return [one.closed_because for one in reversed(self.estate.findings("closed", kinds=AGENT_KINDS))]


@pytest.fixture
def watched(database_url: str) -> Iterator[Watched]:
    """The cluster was read, the agent of web1 reported and is there for two days, and the cluster was read again."""
    with opened(database_url) as estate:
        found = Watched(estate, reporting_on(estate.connection), Rules((MAPPED,)))
        estate.read()
        found.report()
        found.online()
        estate.read()
        yield found


def test_an_agent_that_says_what_its_platform_says_is_no_finding(watched: Watched) -> None:
    looked = watched.check()
    assert (looked.compared, looked.alone, looked.platforms, looked.opened) == (1, 0, (SOURCE,), 0)
    assert watched.open() == {}
    # one asset, of which both speak
    found = watched.agents.rows(
        "SELECT count(*) AS links FROM ledger.asset_source_links GROUP BY asset_id HAVING count(*) > 1"
    )
    assert found == [{"links": 2}]


def test_a_machine_that_no_platform_has_is_counted_as_one_that_is_compared_with_nothing(watched: Watched) -> None:
    watched.agents.report("web9", datetime.now(UTC), hostname="web9", addresses=["192.0.2.199/24"])
    watched.agents.run(today())
    looked = watched.check()
    assert (looked.compared, looked.alone) == (1, 1)
    assert watched.check(sources=(watched.agents.source,)).platforms == ()


def test_a_machine_that_is_not_what_its_platform_says_is_a_finding_until_it_is(watched: Watched) -> None:
    watched.report(
        "shop", cores=4, memory_total=1 << 30, disk_total=1 << 30, addresses=["192.0.2.100/24", "10.9.9.9/24"]
    )
    watched.check()
    assert watched.open() == {}, "the platform was not read since"
    watched.estate.read()
    assert watched.check().opened == 2
    found = watched.open()
    assert {key: (one.declared, one.observed) for key, one in found.items()} == {
        ("agent_differs", "hostname"): ("web1", "shop"),
        ("agent_differs", "cpu_cores"): (8, 4),
    }
    one = found["agent_differs", "hostname"]
    assert (one.source, one.external_kind, one.external_id) == (SOURCE, "vm", "qemu/100")
    assert one.client_id == watched.agents.client("web1")
    assert one.asset_id == watched.agents.one(
        "SELECT asset_id FROM ledger.asset_source_links WHERE external_id = 'qemu/100'"
    )
    again = watched.check()
    assert (again.opened, again.closed, again.seen) == (0, 0, 2)
    assert watched.open()["agent_differs", "hostname"].seen_at == one.seen_at, "the same words confirm nothing"
    watched.report("web1.example.com")
    assert watched.check().closed == 2
    assert watched.closed() == ["agrees", "agrees"]


def test_another_system_than_the_platform_knows_is_a_finding_and_another_distribution_is_none(watched: Watched) -> None:
    watched.report(os="rocky", cores=8)
    watched.estate.read()
    assert watched.check().opened == 0
    watched.report(os="windows", cores=4)
    watched.estate.read()
    watched.check()
    assert watched.open()["agent_differs", "os_family"].declared == "linux"
    assert watched.open()["agent_differs", "os_family"].observed == "windows"


def test_a_finding_is_unsure_while_the_platform_cannot_be_read_or_the_agent_is_silent(watched: Watched) -> None:
    watched.report("shop")
    watched.estate.read()
    watched.check()
    watched.estate.pve.cluster.grant("/pool/prod", "NoAccess", "agent@pve")
    watched.estate.read(fails=True)
    assert watched.check().unsure == 1
    assert "not complete: PVE_PERMISSION_DENIED" in str(watched.open()["agent_differs", "hostname"].unsure_because)
    watched.estate.pve.cluster.revoke("/pool/prod", "NoAccess", "agent@pve")
    watched.estate.read()
    assert watched.check().seen == 1
    assert watched.open()["agent_differs", "hostname"].unsure_since is None
    watched.silent(timedelta(days=5))
    watched.check()
    assert watched.open()["agent_differs", "hostname"].unsure_because == "the agent does not report any more"


def test_an_agent_that_lives_on_a_machine_that_is_gone_is_a_finding_until_it_is_seen_again(watched: Watched) -> None:
    guest = watched.estate.pve.cluster.guests.pop(100)
    watched.estate.read()
    assert watched.check(timedelta(minutes=1)).opened == 0, "it may have died with its machine a moment ago"
    assert watched.check().opened == 1
    (one,) = watched.open().values()
    assert (one.kind, one.source, one.external_id, one.name) == ("alive_but_gone", SOURCE, "qemu/100", "web1")
    assert one.declared["state"] == "missing"
    assert datetime.fromisoformat(one.observed["alive_at"]) > datetime.fromisoformat(one.declared["since"])
    watched.estate.pve.cluster.guests[100] = guest
    watched.estate.read()
    watched.check()
    assert watched.closed() == ["seen_again"]


def test_an_agent_that_died_with_its_machine_is_none_and_one_that_falls_silent_is_one_no_more(watched: Watched) -> None:
    watched.estate.pve.cluster.guests.pop(100)
    watched.silent(timedelta(minutes=5))
    watched.estate.read()
    assert watched.check().opened == 0
    watched.online()
    assert watched.check().opened == 1
    watched.silent(timedelta(minutes=-30))
    assert watched.check(timedelta(hours=2)).seen == 1
    watched.check(timedelta(days=2))
    assert watched.closed() == ["agent_silent"]


def test_an_agent_that_lives_on_a_machine_that_is_off_is_a_finding_unless_it_was_started_since(
    watched: Watched,
) -> None:
    watched.estate.pve.cluster.guests[100].spec.status = "stopped"
    watched.estate.read()
    watched.online(timedelta(0), booted=datetime.now(UTC))
    assert watched.check().opened == 0, "it came back after the reading: somebody started it"
    watched.online(timedelta(days=1))
    watched.check()
    (one,) = watched.open().values()
    assert (one.kind, one.declared["state"]) == ("alive_but_gone", "stopped")
    watched.online(timedelta(0))
    watched.check()
    assert "may have been started" in str(watched.open()["alive_but_gone", ""].unsure_because)
    # it was not there all the time, but it says that it booted long ago
    long_ago = datetime.now(UTC) - timedelta(days=9)
    watched.report(boot_time=int(long_ago.timestamp()), kernel_version="6")
    watched.check()
    assert watched.open()["alive_but_gone", ""].unsure_since is None


def test_an_agent_on_a_machine_whose_id_another_has_now_is_a_finding(watched: Watched) -> None:
    watched.estate.pve.cluster.replace(100)
    watched.estate.read()
    watched.check()
    assert watched.open()["alive_but_gone", ""].declared["state"] == "replaced"


def test_an_agent_on_a_machine_that_a_person_retired_is_a_finding(watched: Watched) -> None:
    asset = watched.agents.one("SELECT asset_id FROM ledger.asset_source_links WHERE external_id = 'qemu/100'")
    decisions.retire(watched.estate.connection, asset, actor="li.lei", at=datetime.now(UTC))
    watched.check()
    assert watched.open()["alive_but_gone", ""].declared["state"] == "retired"


def test_a_finding_of_an_agent_that_is_retired_or_of_a_source_that_is_compared_no_more_closes(watched: Watched) -> None:
    watched.report("shop")
    watched.estate.read()
    watched.check()
    watched.check(sources=(watched.agents.source,))
    assert watched.closed() == ["no_longer_compared"]
    watched.check()
    with as_tenant(watched.estate.connection, watched.agents.tenant_id):
        clients.retire(watched.estate.connection, watched.agents.tenant_id, watched.agents.client("web1"))
    watched.check()
    assert watched.closed() == ["no_longer_compared", "agent_retired"]


def test_an_agent_of_one_tenant_is_not_told_what_anothers_platform_says(watched: Watched) -> None:
    others = reporting_on(watched.estate.connection, "other")
    others.report("spy", datetime.now(UTC), addresses=["192.0.2.100/24"], cores=1)
    others.run(today())
    watched.estate.read()
    every = (watched.agents.source, others.source, watched.estate.source)
    found = agent_findings.evaluate(watched.estate.connection, every, watched.rules, now=datetime.now(UTC) + LATER)
    assert {one.tenant: one.platforms for one in found} == {"acme": (SOURCE,), "other": ()}
    assert watched.estate.findings(tenant="other") == []


def test_a_platform_that_is_mapped_to_nobody_is_compared_where_there_is_one_tenant(watched: Watched) -> None:
    sources = (watched.agents.source, watched.estate.source)
    assert compared_with("acme", sources, Rules(), alone=True) == (SOURCE,)
    assert compared_with("acme", sources, Rules(), alone=False) == ()
    to_other = Rules((Mapped("other", SOURCE, ("*/*",), None, None, None, True),))
    assert compared_with("acme", sources, to_other, alone=True) == ()


def test_what_people_ignore_is_no_finding_and_hooks_are_told_of_the_others(watched: Watched) -> None:
    watched.report("shop", cores=4)
    watched.estate.read()
    tickets = Hook("tickets", "https://example.com/", "env:X", None, EVERY_KIND, None)
    watched.rules = Rules((MAPPED,), (Ignored(kind="agent_differs", attribute="hostname"),), (tickets,))
    looked = watched.check()
    assert (looked.opened, looked.told) == (1, 1)
    assert set(watched.open()) == {("agent_differs", "cpu_cores")}
    watched.rules = Rules((MAPPED,), (Ignored(kind="agent_differs", name="sh*"),), (tickets,))
    watched.check()
    assert watched.closed() == ["ignored"]
    with as_tenant(watched.estate.connection, watched.agents.tenant_id):
        told = rows(
            watched.estate.connection, "SELECT payload::json AS told FROM iac.webhook_deliveries ORDER BY created_at"
        )
    assert [(each["told"]["type"], each["told"]["data"]["kind"]) for each in told] == [
        ("finding.opened", "agent_differs"),
        ("finding.closed", "agent_differs"),
    ]
    assert told[0]["told"]["data"]["external_id"] == "qemu/100"


def test_findings_of_states_and_of_agents_leave_each_other_alone(watched: Watched) -> None:
    watched.report("shop")
    watched.estate.read()
    watched.check()
    watched.estate.map(Mapped("acme", SOURCE, ("none/none",), None, None, None, False))
    told = watched.estate.check()["acme"]
    assert set(told.open) == {"drift", "missing", "double", "orphan"}
    assert (told.opened, told.closed) == (0, 0)
    assert set(watched.open()) == {("agent_differs", "hostname")}
    connection = watched.estate.connection
    with as_tenant(connection, watched.agents.tenant_id):
        connection.execute("DELETE FROM iac.tenant_sources")
        assert not is_compared(connection, watched.agents.tenant_id), "an iac.yaml is not missed for what agents say"


def test_rules_may_speak_of_what_agents_say_and_of_nothing_that_they_do_not(tmp_path: Path) -> None:
    file = tmp_path / "iac.yaml"
    file.write_text(
        "ignore:\n  - {kind: agent_differs, attribute: hostname}\n  - {kind: alive_but_gone, name: 'ci-*'}\n"
    )
    assert [one.kind for one in load(file, {}).ignore] == ["agent_differs", "alive_but_gone"]
    file.write_text(
        "ignore:\n  - {kind: agent_differs, attribute: memory_bytes}\n  - {kind: alive_but_gone, state: '*'}\n"
    )
    with pytest.raises(PermanentError) as refused:
        load(file, {})
    assert "no attribute is called so; there are hostname, os_family, cpu_cores" in str(refused.value)
    assert "no finding of an agent has one" in str(refused.value)


def test_a_source_of_agents_alone_has_nothing_to_be_compared_with(watched: Watched) -> None:
    assert watched.check(sources=(source_of(),)).compared == 0
