"""What parsing must be on every platform: pure, the same every time, whole or failed, and free of secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.domain import normalized
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.inventory import (
    AssetRecord,
    InstanceRecord,
    Item,
    RejectedRow,
    TargetFailure,
    UnchangedRecord,
)
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import holds_secret
from asset_ledger.sources.platform import Platform
from tests.contract.readings import Reading, as_json, readings, written

PROJECT = Path(__file__).parents[2]
SECOND_OPINION = jsonschema.Draft202012Validator(normalized.schema())
TOUCHES_THE_WORLD = ("open", "socket.", "subprocess.", "os.", "shutil.", "tempfile.", "urllib.", "glob.", "pathlib.")


class _Watch:
    """Notes what reaches outside while it is on. An audit hook cannot be removed, so there is one for the session."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event.startswith(TOUCHES_THE_WORLD):
            self.seen.append(f"{event} {arguments!r}")

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        self.seen = []
        self.on = True
        try:
            yield self.seen
        finally:
            self.on = False


class _NoEnvironment(Mapping[str, str]):
    """An environment that may not be looked at."""

    def __getitem__(self, key: str) -> str:
        raise AssertionError(f"the environment was asked for {key}")

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("the environment was listed")

    def __len__(self) -> int:
        raise AssertionError("the environment was counted")


@pytest.fixture(scope="session")
def watch() -> _Watch:
    return _Watch()


def test_parsing_gives_what_the_golden_holds(reading: Reading, update_golden: bool) -> None:
    now = as_json(reading.items())
    if update_golden:
        reading.golden.write_text(now, encoding="utf-8")
    assert reading.golden.is_file(), "run pytest tests/contract --update-golden and read what it wrote"
    assert now == reading.golden.read_text(encoding="utf-8")


def test_parsing_twice_gives_the_same(reading: Reading) -> None:
    raw = reading.raw()
    first, second = (as_json(list(reading.platform.parse(raw, {}))) for _ in range(2))
    assert first == second


def test_parsing_leaves_its_raw_as_it_was(reading: Reading) -> None:
    raw = reading.raw()
    list(reading.platform.parse(raw, {}))
    assert raw == reading.raw()


def test_parsing_does_not_hang_on_the_order_of_sets(platform: Platform) -> None:
    code = f"import json; from tests.contract.readings import written; print(json.dumps(written({platform.name!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={**os.environ, "PYTHONHASHSEED": "20261101", "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == written(platform.name)


def test_parsing_touches_nothing_outside(reading: Reading, watch: _Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    reading.items()  # libraries are imported where they are first used
    raw = reading.raw()
    with monkeypatch.context() as patched, watch.listening() as seen:
        patched.setattr(os, "environ", _NoEnvironment())
        list(reading.platform.parse(raw, {}))
    assert seen == []


def test_the_watch_would_notice(watch: _Watch) -> None:
    with watch.listening() as seen, Path(__file__).open(encoding="utf-8"):
        pass
    assert len(seen) == 1


def test_parsing_asks_no_clock(reading: Reading) -> None:
    today = as_json(reading.items())
    with time_machine.travel(datetime(2031, 5, 6, tzinfo=UTC), tick=False):
        assert as_json(reading.items()) == today


def test_every_document_is_normalized_v1_and_a_second_library_agrees(reading: Reading) -> None:
    for item in reading.items():
        if isinstance(item, AssetRecord):
            normalized.validate(item.document, target=item.locator)
            assert [error.message for error in SECOND_OPINION.iter_errors(item.document)] == []
            normalized.canonical_json(item.document)


def test_an_absent_fact_has_a_reason_and_a_present_one_has_none(reading: Reading) -> None:
    facts = ("hardware.cpu_count", "hardware.memory_bytes", "hardware.disk_total_bytes", "os.family", "os.version")
    for item in reading.items():
        if isinstance(item, AssetRecord):
            for fact in facts:
                group, _, key = fact.partition(".")
                assert (key in item.document.get(group, {})) != (fact in item.document["unknown"]), fact


def test_what_identifies_a_record_is_there_and_there_once(reading: Reading) -> None:
    items = reading.items()
    for item in items:
        if isinstance(item, AssetRecord):
            assert item.external_kind
            assert item.external_id.strip() == item.external_id != ""
            assert item.locator
            assert len(item.record_digest) == 16
    records = Counter((item.external_kind, item.external_id) for item in items if isinstance(item, AssetRecord))
    instances = Counter(item.instance_key for item in items if isinstance(item, InstanceRecord))
    digests = Counter(item.record_digest for item in items if isinstance(item, AssetRecord))
    for counted in (records, instances, digests):
        assert [key for key, count in counted.items() if count > 1] == []


def test_what_is_known_only_saves_work(reading: Reading) -> None:
    plain = reading.items()
    known = {item.record_digest: item.external_id for item in plain if isinstance(item, AssetRecord)}
    again = reading.items(known)
    assert [_who(item) for item in again] == [_who(item) for item in plain]
    for before, after in zip(plain, again, strict=True):
        if isinstance(after, UnchangedRecord):
            assert isinstance(before, AssetRecord)
            assert (after.record_digest, after.locator) == (before.record_digest, before.locator)
        else:
            assert after == before
    stranger = {b"\x00" * 16: "not of this reading"}
    assert as_json(reading.items(stranger)) == as_json(plain)


def test_no_item_holds_what_looks_like_a_secret(reading: Reading) -> None:
    assert not holds_secret(as_json(reading.items()))


@pytest.mark.parametrize("part", [0.0, 0.2, 0.5, 0.8, 0.95])
def test_a_reading_that_was_cut_short_is_never_a_shorter_list(reading: Reading, part: float) -> None:
    raw = reading.raw()
    if raw.body:
        check_broken(reading, replace(raw, body=raw.body[: int(len(raw.body) * part)]))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_reading_damaged_anywhere_never_breaks_out(data: st.DataObject) -> None:
    reading = data.draw(st.sampled_from([one for one in readings() if one.raw().body]))
    raw = reading.raw()
    body = raw.body
    match data.draw(st.sampled_from(["cut", "garbage", "flipped", "doubled"])):
        case "cut":
            broken = body[: data.draw(st.integers(0, len(body) - 1))]
            check_broken(reading, replace(raw, body=broken))
        case "garbage":
            _parsed(reading, replace(raw, body=data.draw(st.binary(max_size=2000))))
        case "flipped":
            at = data.draw(st.integers(0, len(body) - 1))
            byte = bytes([data.draw(st.integers(0, 255))])
            _parsed(reading, replace(raw, body=body[:at] + byte + body[at + 1 :]))
        case _:
            _parsed(reading, replace(raw, body=body + body))


def check_broken(reading: Reading, broken: RawRecord) -> None:
    """Fail if a cut reading gives fewer machines, or less of one, without saying that something is missing.

    Cells of a dropped file are not compared: it came whole, and was not read over a wire that can break.
    """
    whole, left = reading.items(), _parsed(reading, broken)
    if left is None or any(isinstance(item, TargetFailure) for item in left):
        return
    told = sum(isinstance(item, RejectedRow) for item in left) - sum(isinstance(item, RejectedRow) for item in whole)
    assert told >= _count(whole) - _count(left), f"{_count(whole)} became {_count(left)} and nothing says so"
    if reading.platform.contract != "push":
        facts = {item.external_id: item.document for item in whole if isinstance(item, AssetRecord)}
        for item in left:
            if isinstance(item, AssetRecord):
                assert item.document == facts[item.external_id], "a record of half a reading passes for a whole one"


def _parsed(reading: Reading, raw: RawRecord) -> list[Item] | None:
    """Parse, and hold what comes to the same rules as an honest reading; None where the platform refused it."""
    try:
        items = list(reading.platform.parse(raw, {}))
    except LedgerError:
        return None
    for item in items:
        if isinstance(item, AssetRecord):
            normalized.validate(item.document, target=item.locator)
            normalized.canonical_json(item.document).encode()
    return items


def _count(items: list[Item]) -> int:
    return sum(isinstance(item, (AssetRecord, UnchangedRecord, InstanceRecord)) for item in items)


def _who(item: Item) -> tuple[str, str]:
    match item:
        case AssetRecord() | UnchangedRecord():
            return "record", item.external_id
        case InstanceRecord():
            return "instance", item.instance_key
        case _:
            return type(item).__name__, repr(item)
