"""The clients of `aliyun_collect`, each a process of its own that prints what it cost.

All of them read the folder that `aliyun_collect` made: `source.json` says where the double is and who asks, and the
recording of one collect has its requests (`requests.json`) and its raw (`records.pickle`).
Run: `python -m benchmarks.aliyun_clients NAME FOLDER ...`.
"""

from __future__ import annotations

import gc
import http.client
import json
import pickle
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from asset_ledger.domain.inventory import AssetRecord, Proof
from asset_ledger.domain.raw import RawRecord
from asset_ledger.sources.aliyun.account import Keys
from asset_ledger.sources.aliyun.signer import sign
from asset_ledger.sources.platform import Collector, ReadOrder
from asset_ledger.sources.registry import platform
from benchmarks.measuring import _own_cpu_s, _peak_mb

SOURCE, REQUESTS, RECORDS = "source.json", "requests.json", "records.pickle"
PARSE_ROUNDS = 9
_LENGTHS_DIFFER = 64
"""By how many bytes at most an answer differs from the recorded one: a token has the time in it, written out."""


class OneKey:
    """The credential of the source."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def resolve(self, reference: str) -> Mapping[str, str]:  # noqa: ARG002
        return self._fields


def _said(folder: Path) -> Any:
    return json.loads((folder / SOURCE).read_text())


def _collector(folder: Path) -> Collector:
    aliyun, said = platform("aliyun"), _said(folder)
    assert aliyun.open is not None
    return aliyun.open(aliyun.config.model_validate(said["config"]), OneKey(said["credential"]))


def _timed(work: Callable[[], Mapping[str, float]]) -> None:
    """Do the work and print what it cost; the process is new, so that nothing else is in it."""
    before, began = _own_cpu_s(), time.monotonic()
    told = work()
    print(json.dumps({**told, "wall_s": time.monotonic() - began, "cpu_s": _own_cpu_s() - before}))


# --- a recording -------------------------------------------------------------------------------------------------


def record(folder: Path) -> None:
    """Collect once and keep the raw, and every request as it went out, with when it began and was answered whole."""
    import urllib3

    asked: list[dict[str, Any]] = []
    guard = threading.Lock()
    usual = urllib3.HTTPSConnectionPool.urlopen

    def noted(pool: Any, method: str, url: str, body: Any = None, headers: Any = None, **more: Any) -> Any:
        said = dict(headers or {})
        one: dict[str, Any] = {"method": method, "host": said["host"], "url": url, "body": len(body or b"")}
        one |= {"action": said["x-acs-action"], "version": said["x-acs-version"], "began": time.monotonic()}
        with guard:
            asked.append(one)
        answer = usual(pool, method, url, body=body, headers=headers, **more)
        one |= {"status": answer.status, "bytes": int(answer.headers["Content-Length"])}
        let_go = answer.release_conn

        def ended() -> None:
            one["ended"] = time.monotonic()
            let_go()

        answer.release_conn = ended  # type: ignore[method-assign]
        return answer

    urllib3.HTTPSConnectionPool.urlopen = noted  # type: ignore[method-assign, assignment]
    records = list(_collector(folder).collect(ReadOrder()))
    (folder / REQUESTS).write_text(json.dumps(asked))
    (folder / RECORDS).write_bytes(pickle.dumps(records))
    account = records[-1].document
    told = {name: account[name] for name in ("requests", "rate_limited", "restarts")}
    print(json.dumps({**told, "records": len(records)}))


# --- against bare requests ---------------------------------------------------------------------------------------


def ours(folder: Path) -> None:
    """Collect, as a run does up to the raw it keeps."""
    collector = _collector(folder)
    import urllib3  # noqa: F401 - loaded before the clock starts, as `http.client` is

    from asset_ledger.sources.aliyun import collector as _  # noqa: F401

    def work() -> Mapping[str, float]:
        last, size = None, 0
        for raw in collector.collect(ReadOrder()):
            last, size = raw, size + len(raw.body)
        assert last is not None
        return {"requests": int(last.document["requests"]), "bytes": size}

    _timed(work)


def bare(folder: Path, threads: str) -> None:
    """Send the recorded requests from so many threads, a connection each, every thread the next as soon as it is free.

    Each is signed anew by the collector's own signer: Aliyun takes no nonce twice. Answers are read and thrown away.
    """
    said, recorded = _said(folder), json.loads((folder / REQUESTS).read_text())
    keys = Keys(said["credential"]["access_key_id"], said["credential"]["access_key_secret"])
    place = urlsplit(said["config"]["endpoint"])
    todo: SimpleQueue[dict[str, Any]] = SimpleQueue()
    for one in recorded:
        todo.put(one)
    done: list[int] = []

    def ask(trusting: ssl.SSLContext) -> None:
        connection = http.client.HTTPSConnection(place.hostname or "", place.port, context=trusting, timeout=60)
        while True:
            try:
                one = todo.get_nowait()
            except Empty:
                connection.close()
                return
            query = one["url"].removeprefix("/?")
            parameters = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
            at, nonce = datetime.now(UTC), uuid.uuid4().hex
            signed = sign(one["host"], keys, one["action"], one["version"], parameters, at=at, nonce=nonce)
            headers = {**signed.headers, "accept": "application/json"}
            connection.request(one["method"], f"/?{signed.query}", body=b"", headers=headers)
            answer = connection.getresponse()
            size = len(answer.read())
            same = signed.query == query and answer.status == one["status"]
            if same and abs(size - one["bytes"]) <= _LENGTHS_DIFFER:
                done.append(size)

    def work() -> Mapping[str, float]:
        trusting = ssl.create_default_context(cafile=said["config"]["ca_file"])
        pool = [threading.Thread(target=ask, args=(trusting,)) for _ in range(int(threads))]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
        if len(done) != len(recorded):
            raise RuntimeError(f"{len(done)} of {len(recorded)} requests were answered as they were recorded")
        return {"requests": len(done), "bytes": sum(done)}

    _timed(work)


# --- memory ----------------------------------------------------------------------------------------------------


def documents(folder: Path) -> None:
    """Collect and parse record by record, as a run does; the peak, and what was there before the first request."""
    collector, aliyun = _collector(folder), platform("aliyun")
    import urllib3  # noqa: F401

    from asset_ledger.sources.aliyun import collector as _  # noqa: F401

    before_mb, machines, complete = _peak_mb(), 0, False
    for raw in collector.collect(ReadOrder()):
        for item in aliyun.parse(raw, {}):
            machines += isinstance(item, AssetRecord)
            complete |= isinstance(item, Proof) and item.complete
    if not complete:
        raise RuntimeError("the reading is not proven complete")
    print(json.dumps({"machines": machines, "before_mb": before_mb, "peak_mb": _peak_mb()}))


# --- against json.loads ------------------------------------------------------------------------------------------


def parse(folder: Path) -> None:
    """Parse the kept records to documents, and load the lines of the same bodies, in turns; CPU seconds of each."""
    records: list[RawRecord] = pickle.loads((folder / RECORDS).read_bytes())
    bodies = [raw.body for raw in records]
    found = list(_items(records))
    documents = sum(isinstance(item, AssetRecord) for item in found)
    if not any(isinstance(item, Proof) and item.complete for item in found):
        raise RuntimeError("the recorded reading is not proven complete")
    del found

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
    told = {
        "parsed_s": median(mine),
        "loaded_s": median(theirs),
        "ratio": median(a / b for a, b in zip(mine, theirs, strict=True)),
        "bytes": sum(map(len, bodies)),
        "lines": sum(body.count(b"\n") for body in bodies),
        "documents": documents,
    }
    print(json.dumps(told))


def _items(records: list[RawRecord]) -> Iterator[Any]:
    aliyun = platform("aliyun")
    for raw in records:
        yield from aliyun.parse(raw, {})


def main() -> int:
    client, folder, *more = sys.argv[1:]
    clients: dict[str, Callable[..., None]] = {one.__name__: one for one in (record, ours, bare, documents, parse)}
    clients[client](Path(folder), *more)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
