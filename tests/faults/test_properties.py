"""Random stories: readings whole and not, files of past days, decisions, merges, replays. Whatever happened, a rebuild
gives the ledger that lived; the order of replays does not matter; a merge that is undone leaves no trace.

`tests.faults.stories` says how to ask for more stories than the usual few.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.as_of import AsOf
from asset_ledger.domain.errors import LedgerError, PermanentError
from asset_ledger.sources.registry import platform
from asset_ledger.store.database import clock
from asset_ledger.store.decide.decisions import clear_override, not_duplicate, override, restore, retire
from asset_ledger.store.decide.merges import merge, unmerge
from asset_ledger.store.decide.tags import add_tags, remove_tags
from asset_ledger.store.derive.absences import Verdict, decide_absences
from asset_ledger.store.query.as_of import list_as_of
from asset_ledger.store.query.asset_as_of import asset_as_of
from asset_ledger.store.query.assets import AssetQuery, list_assets
from asset_ledger.store.query.day_facts import SPECS
from tests.faults import scripted
from tests.faults.doubles import Scripted
from tests.faults.ledgers import assert_same, derived, follow, rebuilt_differences
from tests.faults.site import Site, instant, opened
from tests.faults.spoken import Speaker, speaking
from tests.faults.stories import HOURS, SAID, STORIES
from tests.faults.world import NONE, Faults, estate, new_vm
from tests.pipeline.importing import Importing, importing
from tests.postgres import create_database, database_name, drop_database

FIRST = 1
LAST = 9

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
    # facts by which machines are told apart, and that drift
    st.tuples(st.just("new uuid"), NUMBER, st.integers(1, 2)),
    st.tuples(st.just("new created"), NUMBER, st.integers(1, 2)),
)
READING = st.tuples(
    st.just("read"),
    st.lists(CHANGES, max_size=3),
    st.sampled_from(["none", "none", *FAULTS]),
    st.sampled_from(["all", "all", "hosts", "vms"]),
    st.integers(0, 1),
)
LINES = st.lists(
    st.tuples(st.integers(1, 8), st.integers(1, 3), st.sampled_from(["", "2", "4"])), min_size=1, max_size=4
)
HOW = st.sampled_from(["", "", "complete", "complete, a bad row", "of the other office"])
FILE = st.tuples(st.just("file"), st.integers(FIRST, LAST), LINES, HOW)
INSTANCES = st.tuples(st.just("instances"), st.integers(FIRST, LAST), LINES)
SAYING = st.tuples(st.just("say"), st.integers(FIRST, LAST), HOURS, SAID, st.booleans())
DECISION = st.tuples(
    st.sampled_from(
        ["override", "clear", "retire", "restore", "tag", "untag", "merge", "unmerge", "dismiss", "approve", "reject"]
    ),
    NUMBER,
    NUMBER,
)
REPLAY = st.tuples(st.just("replay"), st.integers(FIRST, LAST), st.sampled_from(["all", "hosts", "vms"]))
STEPS = st.lists(
    st.one_of(READING, READING, READING, FILE, INSTANCES, SAYING, DECISION, DECISION, REPLAY), min_size=3, max_size=14
)


@dataclass
class Story:
    """A ledger that lives through steps, with a platform's source, two import sources, and one of whatever is said."""

    site: Site
    office: Importing
    branch: Importing
    speaker: Speaker
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
        """Replay days of every source, in this order; those of the platform scope by scope, as its chains do."""
        by_scope = [partial(self.site.replay, scope=scope) for scope in ("vms", "hosts")]
        for day in days:
            for derive in (*by_scope, *self._derivations()):
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
            case ("file", day, lines, *how):
                self._drop_file(f"2026-10-{day:02}", lines, *how)
            case ("instances", day, lines):
                text = "".join(f"db-{name},10.0.0.{ip + 1},543{cores}\n" for ip, name, cores in lines)
                self._drop(self.office, "instances", f"2026-10-{day:02}", f"name,host,port\n{text}")
            case ("say", day, at, records, complete):
                self.speaker.say(f"2026-10-{day:02}", *records, at=at, complete=complete)
            case ("replay", day, scope):
                self.site.replay(f"2026-10-{day:02}", scope=scope)
                for derive in self._derivations():
                    derive(f"2026-10-{day:02}")
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
                "new uuid": {"uuid": f"99999999-0000-4000-8000-{value:012x}"},
                "new created": {"created": f"2025-06-0{value}T00:00:00Z"},
            }[change]
            world.vms[vm.id] = replace(vm, **values)

    def _drop_file(self, day: str, lines: list[tuple[int, int, str]], how: str = "") -> None:
        text = "".join(f"10.0.0.{ip + 1},desk-{name},{cores}\n" for ip, name, cores in lines)
        if "bad row" in how:
            text += "10.0.0.300,desk-0,2\n"
        office = self.branch if "other" in how else self.office
        self._drop(office, str(self.files), day, f"mgmt_ip,hostname,cpu_cores\n{text}", complete="complete" in how)

    def _drop(self, office: Importing, name: str, day: str, text: str, *, complete: bool = False) -> None:
        self.files += 1
        with self.site.on("2026-10-20", self._clock()):
            office.take(day, office.drop(f"{name}_{self.files}_{day}.csv", text), complete=complete)
            office.derive(day)

    def _derivations(self) -> list[Callable[[str], object]]:
        """Return what derives a day of each source but the platform's, where the source has one."""

        def of(source: Importing | Speaker) -> Callable[[str], object]:
            def derive(day: str) -> None:
                with self.site.on("2026-10-20", self._clock()):
                    source.derive(day)

            return derive

        return [of(source) for source in (self.office, self.branch, self.speaker)]

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
        with (
            opened(url, folder, Scripted(folder)) as site,
            importing(url, folder / "inbox") as office,
            importing(url, folder / "branch", "branch") as branch,
            speaking(url) as speaker,
        ):
            site.world = estate(6)
            site.others += [office.source, branch.source, speaker.source]
            yield Story(site, office, branch, speaker)
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

        found = rebuilt_differences(told.site.connection, told.site.double.source, *told.site.others)
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

        found = rebuilt_differences(told.site.connection, told.site.double.source, *told.site.others)
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


def standing(asset: dict[str, Any], last: date | None, decided: dict[str, str]) -> dict[str, Any]:
    """Return what a list says of a machine: its values with the day each is from, and whether it is there.

    `last` is the day of the values that are not carried. What is decided has no day.
    """
    days = {name: asset["carried"].get(name, last) for name in SPECS if asset[name] is not None and name not in decided}
    told = {name: asset[name] for name in (*SPECS, "zone", "platform_type", "missing_since")}
    # a machine whose id went to another is not spoken of by any source today
    return told | {"sources": sorted(asset["sources"]), "days": days if asset["sources"] else None}


def test_a_story_is_told_by_the_same_rule_of_today_and_of_a_past_day(template_database: str) -> None:
    """See `the_present_is_as_of_today`: a story with everything in which the two once differed."""
    steps: list[Any] = [
        ("read", [], "none", "all", 0),
        ("read", [("drop", 2, 0), ("replace", 3, 1), ("resize", 4, 3)], "none", "all", 0),
        ("file", 3, [(1, 1, "4"), (7, 7, "")]),
        ("read", [("clone", 1, 1)], "agents silent", "vms", 1),
        ("merge", 1, 3),
        ("retire", 4, 1),
    ]
    with story(template_database) as told:
        for step in steps:
            told.live([step])
            the_present_is_as_of_today(told)


@STORIES
@given(steps=st.lists(READING, min_size=3, max_size=10))
def test_a_day_goes_on_saying_what_the_present_said_at_its_end(template_database: str, steps: list[Any]) -> None:
    """Nothing is corrected here: no file comes late, and nobody decides anything."""
    with story(template_database) as told:
        connection, query = told.site.connection, AssetQuery(state="all", limit=1000)
        said: dict[date, dict[Any, Any]] = {}
        for step in steps:
            told.live([step])
            found = list_assets(connection, query)[0]
            said[date(2026, 10, told.day)] = {row["id"]: standing(row, row["last_seen_date"], {}) for row in found}
        for day, present in said.items():
            for known_at in (None, clock(connection)):
                past = list_as_of(connection, query, AsOf(day, known_at))[0]
                assert {row["id"]: standing(row, day, {}) for row in past} == present, f"as of {day}, {known_at}"


@STORIES
@given(steps=STEPS)
def test_the_present_is_as_of_today(template_database: str, steps: list[Any]) -> None:
    with story(template_database) as told:
        told.live(steps)
        the_present_is_as_of_today(told)


def the_present_is_as_of_today(told: Story) -> None:
    """Hold the list and the pages as of the last day there is, and of a day of silence long after, to those of today."""
    connection = told.site.connection
    last = told.site.one("SELECT coalesce(max(collected_date), '2026-10-01') FROM ledger.inventories")
    for day in (max(last, date(2026, 10, told.day)), date(2027, 3, 1)):
        for state in ("ledger", "missing", "retired", "all"):
            query = AssetQuery(state=state, limit=1000)
            now, total = list_assets(connection, query)
            then, counted = list_as_of(connection, query, AsOf(day))
            decided = {asset["id"]: asset["decided"] for asset in then}
            assert counted == total
            assert {asset["id"]: standing(asset, day, asset["decided"]) for asset in then} == {
                asset["id"]: standing(asset, asset["last_seen_date"], decided.get(asset["id"], {})) for asset in now
            }, f"{state} as of {day}"
        for asset in now:
            page = asset_as_of(connection, asset["id"], AsOf(day))
            for name in (*SPECS, "zone", "platform_type", "missing_since"):
                assert page[name] == asset[name], f"{name} of {asset['id']} as of {day}"
