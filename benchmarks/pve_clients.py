"""The clients of `pve_collect`, each a process of its own that prints what it cost: `python -m benchmarks.pve_clients`.

All of them read the folder that `pve_collect` made: `source.json` says where the double is and who asks, and the
recording of one collect has its requests (`requests.json`) and its raw (`records.pickle`).
"""

from __future__ import annotations

import gc
import json
import pickle
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any

from asset_ledger.domain.inventory import AssetRecord, Proof
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.platform import Collector, ReadOrder
from asset_ledger.sources.registry import platform

SOURCE, REQUESTS, RECORDS = "source.json", "requests.json", "records.pickle"
PARSE_ROUNDS = 9


class OneToken:
    """The credential of the source."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def resolve(self, reference: str) -> Mapping[str, str]:  # noqa: ARG002
        return self._fields


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _collector(folder: Path) -> Collector:
    pve = platform("pve")
    said = json.loads((folder / SOURCE).read_text())
    assert pve.open is not None
    return pve.open(pve.config.model_validate(said["config"]), OneToken(said["credential"]))


def _collect(folder: Path) -> list[RawRecord]:
    return list(_collector(folder).collect(ReadOrder()))


def _timed(work: Callable[[], int]) -> None:
    """Do the work and print what it cost; the process is new, so that nothing else is in it."""
    before, began = _cpu_s(), time.monotonic()
    requests = work()
    print(json.dumps({"wall_s": time.monotonic() - began, "cpu_s": _cpu_s() - before, "requests": requests}))


# --- a recording -------------------------------------------------------------------------------------------------


def record(folder: Path) -> None:
    """Collect once and keep the raw, and every request as it went out: method, path with query, headers, body."""
    import urllib3

    asked: list[dict[str, Any]] = []
    guard = threading.Lock()
    usual = urllib3.HTTPSConnectionPool.urlopen

    def noted(pool: Any, method: str, url: str, body: str | None = None, headers: Any = None, **more: Any) -> Any:
        one = {"method": method, "url": url, "body": body, "headers": dict(headers or {}), "began": time.monotonic()}
        with guard:
            asked.append(one)
        answer = usual(pool, method, url, body=body, headers=headers, **more)
        one |= {"ended": time.monotonic(), "status": answer.status}
        return answer

    urllib3.HTTPSConnectionPool.urlopen = noted  # type: ignore[method-assign]
    records = _collect(folder)
    (folder / REQUESTS).write_text(json.dumps(asked))
    (folder / RECORDS).write_bytes(pickle.dumps(records))
    cluster = records[-1].document
    told = {name: cluster[name] for name in ("requests", "guests", "nodes", "agents_asked", "agents_unavailable")}
    print(json.dumps(told))


# --- against bare requests ---------------------------------------------------------------------------------------


def ours(folder: Path) -> None:
    """Collect, as a run does up to the raw it keeps."""
    collector = _collector(folder)
    import proxmoxer.core  # noqa: F401 - loaded before the clock starts, as `requests` is below
    import urllib3  # noqa: F401

    def work() -> int:
        last = None
        for raw in collector.collect(ReadOrder()):
            last = raw
        assert last is not None
        return int(last.document["requests"])

    _timed(work)


def bare(folder: Path, threads: str) -> None:
    """Send the recorded requests from so many threads, a session each, every thread the next as soon as it is free."""
    import requests

    said = json.loads((folder / SOURCE).read_text())["config"]
    recorded = json.loads((folder / REQUESTS).read_text())
    todo: SimpleQueue[dict[str, Any]] = SimpleQueue()
    for one in recorded:
        todo.put(one)
    done: list[int] = []

    def ask() -> None:
        with requests.Session() as session:
            session.trust_env = False  # it would look for proxies at every request
            session.headers.clear()
            session.verify = said["ca_file"]
            while True:
                try:
                    one = todo.get_nowait()
                except Empty:
                    return
                url = said["endpoint"] + one["url"]
                answer = session.request(one["method"], url, data=one["body"], headers=one["headers"], timeout=60)
                if answer.content and answer.status_code == one["status"]:
                    done.append(1)

    def work() -> int:
        pool = [threading.Thread(target=ask) for _ in range(int(threads))]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
        if len(done) != len(recorded):
            raise RuntimeError(f"{len(done)} of {len(recorded)} requests were answered as they were recorded")
        return len(done)

    _timed(work)


# --- against an inventory of Ansible -----------------------------------------------------------------------------


def listing(folder: Path, file: str) -> None:
    """Collect, parse, and write every document, as `ansible-inventory --list` writes its hosts."""
    found = [item.document for item in _items(_collect(folder)) if isinstance(item, AssetRecord)]
    Path(file).write_text(json.dumps(found, indent=4))
    print(json.dumps({"read": len(found)}))


# --- against json.loads ------------------------------------------------------------------------------------------


def parse(folder: Path) -> None:
    """Parse the kept records, and load the lines of the same bodies, in turns; CPU seconds of each."""
    records: list[RawRecord] = pickle.loads((folder / RECORDS).read_bytes())
    bodies = [raw.body for raw in records]
    kinds = Counter(item.external_kind for item in _items(records) if isinstance(item, AssetRecord))
    if not any(isinstance(item, Proof) and item.complete for item in _items(records)):
        raise RuntimeError("the recorded reading is not proven complete")

    def parsed() -> None:
        for _ in _items(records):
            pass

    def loaded() -> None:
        for body in bodies:
            for text in body.splitlines():
                json.loads(text)

    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(PARSE_ROUNDS):
        for work, results in ((parsed, mine), (loaded, theirs)):
            gc.collect()
            began = time.process_time()
            work()
            results.append(time.process_time() - began)
    sizes = {"bytes": sum(map(len, bodies)), "lines": sum(body.count(b"\n") for body in bodies)}
    print(json.dumps({"parsed_s": median(mine), "loaded_s": median(theirs), **sizes, **kinds}))


def _items(records: list[RawRecord]) -> Iterator[Any]:
    pve = platform("pve")
    for raw in records:
        yield from pve.parse(raw, {})


def main() -> int:
    client, folder, *more = sys.argv[1:]
    clients: dict[str, Callable[..., None]] = {
        "record": record,
        "ours": ours,
        "bare": bare,
        "listing": listing,
        "parse": parse,
    }
    clients[client](Path(folder), *more)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
