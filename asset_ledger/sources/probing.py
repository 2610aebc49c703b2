"""What every probe of many hosts shares: which targets are one host, who logs in, and a pool that reads them all.

The collectors of probe platforms stand on it (`ssh`, `winrm`): they say how one host is read and what its record
holds. Nothing is opened here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Generic, TypeVar

from asset_ledger.domain.errors import ErrorCode, LedgerError, TargetError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.secrecy import REDACTED, holds_secret
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.platform import Secrets

L = TypeVar("L")

Probe = Callable[[ProbeTarget, threading.Event], RawRecord]
"""Reads one target; a failure is in the record. The event is set when nobody waits for the outcome any longer."""


class Logins(Generic[L]):
    """The credentials of one run made ready, each resolved once however many hosts and threads ask for it."""

    def __init__(
        self, secrets: Secrets, default: str | None, invalid: ErrorCode, ready: Callable[[Mapping[str, str], str], L]
    ) -> None:
        """Take the source's own reference, and `ready`, which makes a login of a credential's fields and reference."""
        self._secrets = secrets
        self._default = default
        self._invalid = invalid
        self._ready = ready
        self._found: dict[str, L | LedgerError] = {}
        self._lock = threading.Lock()

    def reference(self, target: ProbeTarget) -> str | None:
        """Return which credential a target is read with: its own, or the source's."""
        return target.credential_ref or self._default

    def of(self, reference: str | None) -> L:
        """Return the login of a reference. Raises TargetError where there is none, or it cannot be used."""
        if not reference:
            raise TargetError(self._invalid, "neither the target nor the source names a credential")
        with self._lock:
            if reference not in self._found:
                try:
                    self._found[reference] = self._ready(self._secrets.resolve(reference), reference)
                except LedgerError as error:
                    self._found[reference] = error
            found = self._found[reference]
        if isinstance(found, LedgerError):
            raise TargetError(found.code, found.message, target=reference)
        return found

    def checked(self, targets: Iterable[ProbeTarget]) -> tuple[dict[str, str], list[str]]:
        """Return of every credential that the targets are read with whether it can be used, and what is wrong."""
        checks: dict[str, str] = {}
        problems: list[str] = []
        for reference in sorted({self.reference(target) or "" for target in targets}):
            try:
                self.of(reference)
                checks[reference] = "usable"
            except LedgerError as error:
                checks[reference or "credential"] = error.code.code
                problems.append(str(error))
        return checks, problems


def no_target(protocol: str) -> str:
    """Return the problem of a source that has nothing to read."""
    return f"no target: no ledger asset has protocol {protocol}, an address and a credential"


def read_all(
    targets: Sequence[ProbeTarget], probe: Probe, *, default_port: int, parallel: int, name: str
) -> Iterator[RawRecord]:
    """Yield one record a target, as each is done, from at most `parallel` threads.

    Targets of one address and port are read one after the other, so that no host sees two probes at once. At most
    `parallel` hosts are read or wait to be taken. Closing the iterator ends the running probes and waits for them.
    """
    hosts = iter(_by_place(targets, default_port))
    stop = threading.Event()
    done: SimpleQueue[Future[list[RawRecord]]] = SimpleQueue()
    pool = ThreadPoolExecutor(parallel, thread_name_prefix=f"probe-{name}")
    running = 0
    try:
        while True:
            for host in islice(hosts, parallel - running):
                pool.submit(_read, host, probe, stop).add_done_callback(done.put)
                running += 1
            if not running:
                return
            finished = done.get()
            running -= 1
            yield from finished.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def failure_of(work: Callable[[], None], stopped: ErrorCode) -> dict[str, str] | None:
    """Do the work on one host; return None, or code and message of what it failed with.

    `stopped` is the platform's code for a run that was ended before the host was done.
    """
    try:
        work()
    except TargetError as failure:
        return {"code": failure.code.code, "message": quotable(failure.message)}
    except AbandonedError:
        return {"code": stopped.code, "message": "the run was stopped"}
    return None


def quotable(text: str) -> str:
    """Return a host's words fit to be stored: no control characters, no secret, not too long."""
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()[:1000]
    return "\n".join(REDACTED if holds_secret(line) else line for line in plain.split("\n"))


def _by_place(targets: Sequence[ProbeTarget], default_port: int) -> list[list[ProbeTarget]]:
    places: dict[tuple[str, int], list[ProbeTarget]] = {}
    for target in targets:
        place = "" if target.protocol == "local" else target.mgmt_ip or target.hostname or ""
        places.setdefault((place, target.port or default_port), []).append(target)
    return list(places.values())


def _read(host: list[ProbeTarget], probe: Probe, stop: threading.Event) -> list[RawRecord]:
    return [probe(target, stop) for target in host if not stop.is_set()]
