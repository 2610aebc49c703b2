"""Random stories: readings whole and not, files of past days, decisions, merges, replays. Whatever happened, a rebuild
gives the ledger that lived; the order of replays does not matter; a merge that is undone leaves no trace.

ASSET_LEDGER_PROPERTY_EXAMPLES asks for more stories than the usual few.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import LedgerError, PermanentError
from asset_ledger.sources.registry import platform
from asset_ledger.store.decide.decisions import clear_override, not_duplicate, override, restore, retire
from asset_ledger.store.decide.merges import merge, unmerge
from asset_ledger.store.decide.tags import add_tags, remove_tags
from asset_ledger.store.derive.absences import Verdict, decide_absences
from tests.faults import scripted
from tests.faults.doubles import Scripted
from tests.faults.ledgers import assert_same, derived, follow, rebuilt_differences
from tests.faults.site import Site, instant, opened
from tests.faults.world import NONE, Faults, estate, new_vm
from tests.pipeline.importing import Importing, importing
from tests.postgres import create_database, database_name, drop_database

EXAMPLES = int(os.environ.get("ASSET_LEDGER_PROPERTY_EXAMPLES", "8"))
FIRST = 1
LAST = 9
STORIES = settings(
    max_examples=EXAMPLES,
    derandomize=os.environ.get("ASSET_LEDGER_PROPERTY_EXAMPLES") is None,
    database=None,
    # a story takes a second; who looks into a failure asks for shrinking too
    phases=[Phase.generate, *([Phase.shrink] if "ASSET_LEDGER_PROPERTY_SHRINK" in os.environ else [])],
    report_multiple_bugs=False,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

FAULTS = {
    "none": NONE,
    "truncated": Faults(truncated=5),
    "nothing": Faults(nothing=True),
    "a pool hidden": Faults(hidden_pools=("test",)),
    "no hosts": Faults(hostless=True),
    "esx1 down": Faults(down_hosts=("esx1",)),
    "agents silent": Faults(silent_agents=frozenset({"101", "102", "103"})),
    "five not told": Faults(lies_without=frozenset({"101", "102", "103", "104", "105"})),
    "102 twice": Faults(listed_twice=frozenset({"102"})),
}
NUMBER = st.integers(1, 6)
CHANGES = st.one_of(
    st.tuples(st.just("move"), NUMBER, st.integers(1, 4)),
    st.tuples(st.just("resize"), NUMBER, st.integers(1, 4)),
    st.tuples(st.just("rename"), NUMBER, st.integers(1, 3)),
    st.tuples(st.just("readdress"), NUMBER, st.integers(1, 8)),
    st.tuples(st.just("drop"), NUMBER, st.just(0)),
    st.tuples(st.just("replace"), NUMBER, st.integers(1, 2)),
    st.tuples(st.just("clone"), NUMBER, st.integers(1, 2)),
)
READING = st.tuples(
    st.just("read"),
    st.lists(CHANGES, max_size=3),
    st.sampled_from(["none", "none", *FAULTS]),
    st.sampled_from(["all", "all", "hosts", "vms"]),
    st.integers(0, 1),
)
FILE = st.tuples(
    st.just("file"),
    st.integers(FIRST, LAST),
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 3), st.sampled_from(["", "2", "4"])), min_size=1, max_size=4),
)
DECISION = st.tuples(
    st.sampled_from(
        ["override", "clear", "retire", "restore", "tag", "untag", "merge", "unmerge", "dismiss", "approve", "reject"]
    ),
    NUMBER,
    NUMBER,
)
REPLAY = st.tuples(st.just("replay"), st.integers(FIRST, LAST))
STEPS = st.lists(st.one_of(READING, READING, READING, FILE, DECISION, DECISION, REPLAY), min_size=3, max_size=14)


@dataclass
class Story:
    """A ledger that lives through steps, with a platform's source and an import source."""

    site: Site
    office: Importing
    day: int = FIRST
    minute: int = 60
    files: int = 0
    refused: list[str] = field(default_factory=list)

    def live(self, steps: list[Any]) -> None:
        """Take the steps, in order. What the ledger refuses with a LedgerError is part of the story."""
        for step in steps:
            self.minute += 20
            try:
                self._take(step)
            except LedgerError as error:
                self.refused.append(error.code.code)
            self.site.bars.hold()

    def replayed(self, days: list[int]) -> None:
        """Replay days of both sources, in this order."""
        for day in days:
            for derive in (self.site.replay, self._derive_files):
                try:
                    derive(f"2026-10-{day:02}")
                except LedgerError as error:
                    self.refused.append(error.code.code)

    def assets(self) -> list[Any]:
        """Return the ids of the assets in the order in which they came."""
        found = self.site.rows("SELECT asset_id FROM ledger.identity_resolutions WHERE outcome = 'created' ORDER BY id")
        return [row["asset_id"] for row in found]

    def merge_pair(self, one: int, other: int) -> bool:
        """Merge two assets and part them again; return whether that could be."""
        try:
            self._decide("merge", one, other)
        except PermanentError:
            return False
        self._decide("unmerge", one, other)
        return True

    def _clock(self, past: int = 0) -> str:
        return f"{(self.minute + past) // 60:02}:{(self.minute + past) % 60:02}"

    def _take(self, step: Any) -> None:
        match step:
            case ("read", changes, faults, scope, later):
                for change in changes:
                    self._change(*change)
                if later and self.day < LAST:
                    self.day, self.minute = self.day + 1, 60
                self.site.reading(self.site.world, FAULTS[faults])
                self.site.collect(f"2026-10-{self.day:02}", scope=scope, at=self._clock())
            case ("file", day, lines):
                self._drop_file(f"2026-10-{day:02}", lines)
            case ("replay", day):
                self.site.replay(f"2026-10-{day:02}")
                self._derive_files(f"2026-10-{day:02}")
            case (decision, one, other):
                self._decide(decision, one, other)

    def _change(self, change: str, number: int, value: int) -> None:
        world = self.site.world
        vm = world.vms.get(str(100 + number))
        if change == "replace":
            world.add(new_vm(number + 50 * value, f"esx{value}", id=str(100 + number)))
        elif vm is None:
            world.add(new_vm(number, "esx1"))
        elif change == "clone":
            world.add(new_vm(20 + number * value, vm.host, name=vm.name, uuid=vm.uuid))
        elif change == "drop":
            del world.vms[vm.id]
        else:
            values: dict[str, Any] = {
                "move": {"host": f"esx{value}"},
                "resize": {"cpus": value},
                "rename": {"name": f"{vm.name.split('.')[0]}.{value}"},
                "readdress": {"ips": (f"10.0.0.{value + 1}",)},
            }[change]
            world.vms[vm.id] = replace(vm, **values)

    def _drop_file(self, day: str, lines: list[tuple[int, int, str]]) -> None:
        self.files += 1
        text = "".join(f"10.0.0.{ip + 1},desk-{name},{cores}\n" for ip, name, cores in lines)
        with self.site.on("2026-10-20", self._clock()):
            path = self.office.drop(f"{self.files}_{day}.csv", f"mgmt_ip,hostname,cpu_cores\n{text}")
            self.office.take(day, path)
            self.office.derive(day)

    def _derive_files(self, day: str) -> None:
        with self.site.on("2026-10-20", self._clock()):
            self.office.derive(day)

    def _decide(self, decision: str, one: int, other: int) -> None:
        assets = self.assets()
        if not assets:
            return
        asset, second = assets[one % len(assets)], assets[-(other % len(assets))]
        connection = self.site.connection
        by: dict[str, Any] = {"actor": "op", "at": instant(f"2026-10-{self.day:02}", self._clock(10))}
        match decision:
            case "override":
                override(connection, asset, "hostname", f"decided-{other}", **by)
            case "clear":
                clear_override(connection, asset, "hostname", **by)
            case "retire":
                retire(connection, asset, **by)
            case "restore":
                restore(connection, asset, **by)
            case "tag":
                add_tags(connection, asset, ["gold"], **by)
            case "untag":
                remove_tags(connection, asset, ["gold"], **by)
            case "merge":
                merge(connection, asset, second, **by)
            case "unmerge":
                unmerge(connection, asset, **by)
            case "approve" | "reject":
                held = self.site.rows("SELECT id FROM ledger.inventories WHERE absences = 'held' ORDER BY id")
                if held:
                    verdict: Verdict = "approved" if decision == "approve" else "rejected"
                    decide_absences(connection, held[one % len(held)]["id"], verdict, **by)
            case "dismiss":
                not_duplicate(connection, asset, second, **by)


@contextmanager
def story(template: str) -> Iterator[Story]:
    """Open a story over an empty ledger of its own."""
    url = create_database(template, template=database_name(template))
    folder = Path(tempfile.mkdtemp(prefix="asset-ledger-story-"))
    try:
        with opened(url, folder, Scripted(folder)) as site, importing(url, folder / "inbox") as office:
            site.world = estate(6)
            site.others.append(office.source)
            yield Story(site, office)
    finally:
        drop_database(url)
        shutil.rmtree(folder)


def parser(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    monkeypatch.setattr(scripted, "PLATFORM", scripted.platform_of_version(version))
    platform.cache_clear()


@STORIES
@given(steps=STEPS)
def test_a_rebuild_gives_the_ledger_that_lived(template_database: str, steps: list[Any]) -> None:
    with story(template_database) as told:
        told.live(steps)

        found = rebuilt_differences(told.site.connection, told.site.double.source, told.office.source)
        assert not found, "\n".join(found[:20])


@STORIES
@given(steps=STEPS, days=st.permutations(list(range(FIRST, LAST + 1))))
def test_replaying_days_in_any_order_changes_nothing(template_database: str, steps: list[Any], days: list[int]) -> None:
    with story(template_database) as told:
        told.live(steps)
        before = derived(told.site.connection)
        told.replayed(days[: len(days) // 2])

        assert_same(before, derived(told.site.connection))


@STORIES
@given(steps=STEPS, days=st.permutations(list(range(FIRST, LAST + 1))))
def test_days_replayed_with_a_mended_parser_give_one_ledger_in_any_order(
    template_database: str, monkeypatch: pytest.MonkeyPatch, steps: list[Any], days: list[int]
) -> None:
    parser(monkeypatch, scripted.MISREAD)
    with story(template_database) as told:
        told.live(steps)
        parser(monkeypatch, scripted.RIGHT)
        told.replayed(days)

        found = rebuilt_differences(told.site.connection, told.site.double.source, told.office.source)
        assert not found, "\n".join(found[:20])


@STORIES
@given(steps=STEPS, later=STEPS, one=NUMBER, other=NUMBER)
def test_a_merge_that_is_undone_leaves_no_trace(
    template_database: str, steps: list[Any], later: list[Any], one: int, other: int
) -> None:
    with story(template_database) as told:
        told.live(steps)
        follow(told.site.connection)
        before = derived(told.site.connection)
        del before["decisions"]
        if told.merge_pair(one, other):
            follow(told.site.connection)
            after = derived(told.site.connection)
            del after["decisions"]
            assert_same(before, after)
        told.live(later)
