"""What probes share, without any host: who is read when, that a credential is asked for once, and how a run ends."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from asset_ledger.domain.errors import CREDENTIAL_NOT_FOUND, PermanentError, TargetError
from asset_ledger.domain.raw import RawRecord
from asset_ledger.domain.targets import ProbeTarget
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.probing import Logins, failure_of, quotable, read_all
from asset_ledger.sources.ssh import errors
from tests.patience import FOREVER_S, soon


def target(address: str, port: int | None = None, reference: str | None = None) -> ProbeTarget:
    return ProbeTarget(f"asset-{address}", address, None, "ssh", port, reference)


def record(address: str) -> RawRecord:
    return RawRecord(address, "text/plain", b"", hashlib.sha256(b"").digest(), {}, datetime.now(UTC))


class Store:
    """A credential store that counts who asks, and is slow enough for two threads to ask at once."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def resolve(self, reference: str) -> Mapping[str, str]:
        self.asked[reference] += 1
        time.sleep(0.02)
        if reference == "env:NONE":
            raise PermanentError(CREDENTIAL_NOT_FOUND, "there is no such variable")
        return {"username": reference}


def logins(store: Store, default: str | None = None) -> Logins[str]:
    return Logins(store, default, errors.CREDENTIAL_INVALID, lambda fields, _: fields["username"])


# --- logins ---------------------------------------------------------------------------------------------------


def test_a_credential_is_resolved_once_however_many_threads_want_it() -> None:
    store = Store()
    shared = logins(store)
    threads = [threading.Thread(target=shared.of, args=["env:PROBE"]) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert store.asked == {"env:PROBE": 1}


def test_a_credential_that_is_not_there_is_not_asked_for_again_and_fails_each_target() -> None:
    store = Store()
    shared = logins(store)
    for _ in range(3):
        with pytest.raises(TargetError) as caught:
            shared.of("env:NONE")
        assert caught.value.code is CREDENTIAL_NOT_FOUND
    assert store.asked == {"env:NONE": 1}


def test_a_targets_own_credential_wins_over_the_sources() -> None:
    shared = logins(Store(), "env:SOURCE")
    assert shared.reference(target("192.0.2.1", reference="env:OWN")) == "env:OWN"
    assert shared.reference(target("192.0.2.1")) == "env:SOURCE"


def test_a_check_names_every_credential_once_and_what_is_wrong_with_it() -> None:
    shared = logins(Store())
    checks, problems = shared.checked(
        [target(f"192.0.2.{n}", reference=each) for n, each in enumerate(["env:A", "env:A", "env:NONE", None])]
    )
    assert checks == {
        "credential": "SSH_CREDENTIAL_INVALID",
        "env:A": "usable",
        "env:NONE": "CREDENTIAL_NOT_FOUND",
    }
    assert [problem.partition(":")[0] for problem in problems] == ["SSH_CREDENTIAL_INVALID", "CREDENTIAL_NOT_FOUND"]


# --- the pool -------------------------------------------------------------------------------------------------


def test_every_target_gives_one_record_and_a_host_is_never_read_twice_at_once() -> None:
    at_work: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock = threading.Lock()

    def probe(one: ProbeTarget, stop: threading.Event) -> RawRecord:
        with lock:
            at_work[one.mgmt_ip or ""] += 1
            most[one.mgmt_ip or ""] = max(most[one.mgmt_ip or ""], at_work[one.mgmt_ip or ""])
            most["all"] = max(most["all"], sum(at_work.values()))
        time.sleep(0.01)
        with lock:
            at_work[one.mgmt_ip or ""] -= 1
        return record(one.mgmt_ip or "")

    # a port that is not said is the source's own
    wanted = [target(f"192.0.2.{n}", port) for n in range(6) for port in (22, None, 22)]
    found = list(read_all(wanted, probe, default_port=22, parallel=4, name="p"))
    assert Counter(raw.target for raw in found) == {f"192.0.2.{n}": 3 for n in range(6)}
    assert most.pop("all") == 4
    assert set(most.values()) == {1}


def test_one_slow_host_keeps_nobody_else_waiting() -> None:
    release = threading.Event()

    def probe(one: ProbeTarget, stop: threading.Event) -> RawRecord:
        if one.mgmt_ip == "192.0.2.0":
            release.wait(FOREVER_S)
        return record(one.mgmt_ip or "")

    stream = read_all([target(f"192.0.2.{n}") for n in range(9)], probe, default_port=22, parallel=2, name="p")
    first = [next(stream).target for _ in range(8)]
    assert "192.0.2.0" not in first
    release.set()
    assert [raw.target for raw in stream] == ["192.0.2.0"]


def test_leaving_early_tells_the_running_probes_waits_for_them_and_begins_no_other() -> None:
    begun: list[str] = []
    told: list[str] = []

    def probe(one: ProbeTarget, stop: threading.Event) -> RawRecord:
        begun.append(one.mgmt_ip or "")
        if one.mgmt_ip != "192.0.2.0" and stop.wait(FOREVER_S):
            told.append(one.mgmt_ip or "")
        return record(one.mgmt_ip or "")

    stream = read_all([target(f"192.0.2.{n}") for n in range(30)], probe, default_port=22, parallel=3, name="left")
    assert next(stream).target == "192.0.2.0"
    with soon():
        stream.close()
    assert len(begun) <= 4
    assert sorted(told) == sorted(set(begun) - {"192.0.2.0"})
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("probe-left")]


# --- what is written of a failure -----------------------------------------------------------------------------


def test_a_failure_is_its_code_and_words_that_may_be_stored() -> None:
    def fail() -> None:
        raise TargetError(errors.AUTH_FAILED, "said \x1b[31m https://u:canary@host/\x00")

    found = failure_of(fail, errors.CONNECTION_LOST)
    assert found == {"code": "SSH_AUTH_FAILED", "message": "[redacted]"}
    assert failure_of(lambda: None, errors.CONNECTION_LOST) is None


def test_a_run_that_was_stopped_says_so() -> None:
    def stop() -> None:
        raise AbandonedError

    assert failure_of(stop, errors.CONNECTION_LOST) == {"code": "SSH_CONNECTION_LOST", "message": "the run was stopped"}


def test_words_are_cut_and_freed_of_control_characters_and_of_lines_with_a_secret() -> None:
    assert quotable("a\x07b\nhvs.AAAAAAAAAAAAAAAA\nc") == "a b\n[redacted]\nc"
    assert len(quotable("x" * 5000)) == 1000
