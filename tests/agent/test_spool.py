"""Reports on disk: in their order, bounded, and whole whatever ends the process or fills the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.agent import durable
from asset_ledger.agent.spool import Spool

PROJECT = Path(__file__).parents[2]


def texts(spool: Spool) -> list[str]:
    return [spool.read(each).decode() for each in spool.waiting()]


def test_reports_come_out_as_they_went_in(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for text in ("a", "b", "c"):
        spool.add(text.encode(), snapshot=False)
    assert texts(spool) == ["a", "b", "c"]
    spool.done(spool.waiting()[0])
    assert texts(Spool(tmp_path / "spool")) == ["b", "c"]


def test_the_order_goes_on_after_a_restart(tmp_path: Path) -> None:
    Spool(tmp_path / "spool").add(b"a", snapshot=False)
    spool = Spool(tmp_path / "spool")
    spool.add(b"b", snapshot=False)
    spool.done(spool.waiting()[0])
    Spool(tmp_path / "spool").add(b"c", snapshot=False)
    assert texts(spool) == ["b", "c"]


def test_snapshots_go_before_changes_and_the_oldest_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", most_reports=4)
    for text, snapshot in (("c1", False), ("s1", True), ("c2", False), ("s2", True)):
        assert spool.add(text.encode(), snapshot=snapshot) == []
    gone = [spool.add(text.encode(), snapshot=False)[0].number for text in ("c3", "c4", "c5")]
    assert gone == [2, 4, 1]
    assert texts(spool) == ["c2", "c3", "c4", "c5"]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(1, 1000),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bounds_hold_and_the_newest_always_stays(
    tmp_path_factory: pytest.TempPathFactory, reports: list[tuple[int, bool]], most: int, most_bytes: int
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"), most_reports=most, most_bytes=most_bytes)
    for number, (size, snapshot) in enumerate(reports, 1):
        spool.add(b"x" * size, snapshot=snapshot)
        left = spool.waiting()
        assert left[-1].number == number
        assert len(left) <= most
        assert sum(each.size for each in left) <= max(most_bytes, size)


def test_nothing_goes_for_a_report_that_could_not_be_kept(tmp_path: Path) -> None:
    """Whoever is killed while he writes has what he had: room is made when the newer one is there."""
    spool = Spool(tmp_path, most_reports=1)
    spool.add(b"told", snapshot=True)
    (tmp_path / f".0000000000000002.c.json{durable.BESIDE}").mkdir()
    with pytest.raises(OSError, match="directory"):
        spool.add(b"newer", snapshot=False)
    assert texts(spool) == ["told"]
    (tmp_path / f".0000000000000002.c.json{durable.BESIDE}").rmdir()
    assert [one.number for one in spool.add(b"newer", snapshot=False)] == [1]
    assert texts(spool) == ["newer"]


WRITING = """
import sys
from pathlib import Path
from asset_ledger.agent.spool import Spool
spool = Spool(Path(sys.argv[1]), most_reports=40)
number = 0
while True:
    number += 1
    spool.add(('{"n": %d, "text": "%s"}' % (number, "x" * 200_000)).encode(), snapshot=number % 3 == 0)
    if number % 7 == 0:
        spool.done(spool.waiting()[0])
    print(number, flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_whole_reports_alone(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    told = 0
    for wait_s in (0.0, 0.003, 0.011, 0.021, 0.034):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITING, str(folder)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(5):
            told = int(writer.stdout.readline())
        time.sleep(wait_s)  # somewhere within a write, elsewhere each time
        writer.send_signal(signal.SIGKILL)
        rest = writer.communicate()[0].split()
        told = int(rest[-1]) if rest else told
        spool = Spool(folder)
        for each in spool.waiting():
            assert json.loads(spool.read(each))["text"] == "x" * 200_000
        # the one whose write was told of is there, or a later one in its place
        newest = spool.waiting()[-1]
        assert json.loads(spool.read(newest))["n"] >= told
        assert {path.suffix for path in folder.iterdir()} == {".json"}
        assert not list(folder.glob(".*"))


def test_a_process_that_is_killed_in_the_middle_of_a_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.write(path, b"before")
    writing = """if True:
        import os, signal, sys
        from pathlib import Path
        from asset_ledger.agent.durable import write_pieces
        def pieces():
            yield b"half"
            os.kill(os.getpid(), signal.SIGKILL)
        write_pieces(Path(sys.argv[1]), pieces())"""
    done = subprocess.run([sys.executable, "-c", writing, str(path)], cwd=PROJECT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"before"
    durable.write(path, b"after")
    assert path.read_bytes() == b"after"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_write_that_was_begun_is_swept_away_by_the_next_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(b"whole", snapshot=False)
    (tmp_path / f".0000000000000002.c.json{durable.BESIDE}").write_bytes(b"ha")
    (tmp_path / "notes.txt").write_text("somebody's")
    again = Spool(tmp_path)
    assert texts(again) == ["whole"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000000000000001.c.json", "notes.txt"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a quarter of a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.needs("root")
def test_on_a_full_disk_older_reports_make_room_for_the_newest(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool")
    gone = [len(spool.add(str(number).encode() * 60_000, snapshot=False)) for number in range(1, 10)]
    assert gone[0] == 0
    assert sum(gone) > 0
    assert {text[0] for text in texts(spool)} >= {"9"}
    assert all(len(text) == 60_000 for text in texts(spool)), "a report was cut"
    assert not list((small_disk / "spool").glob(".*"))


@pytest.mark.needs("root")
def test_a_disk_that_others_filled_is_an_error_and_leaves_nothing_half_done(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool")
    spool.add(b"x" * 1000, snapshot=False)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "others").write_bytes(b"x" * (1 << 20))
    with pytest.raises(OSError, match="No space left"):
        spool.add(b"y" * 100_000, snapshot=False)
    assert not list((small_disk / "spool").glob(".*"))


def test_a_folder_that_may_not_be_written_costs_no_report_that_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.add(b"a", snapshot=False)
    (tmp_path / "spool").rename(tmp_path / "moved")
    (tmp_path / "spool").write_text("no folder")
    with pytest.raises(OSError):
        spool.add(b"b", snapshot=False)
    assert len(list((tmp_path / "moved").iterdir())) == 1


def test_the_folder_and_its_reports_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool = Spool(tmp_path / "spool")
        spool.add(b"a", snapshot=False)
    finally:
        os.umask(before)
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert spool.waiting()[0].path.stat().st_mode & 0o777 == 0o600


def test_what_is_replaced_stands_until_the_new_is_whole(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("gone")

    path = tmp_path / "file"
    durable.write(path, b"before")
    with pytest.raises(OSError, match="gone"):
        durable.write_pieces(path, broken())
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
