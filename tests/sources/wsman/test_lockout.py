"""An account that many hosts of one domain could lock: how many are asked before one of them has taken it."""

from __future__ import annotations

import threading
import time

import pytest

from asset_ledger.domain.errors import TargetError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.winrm import errors
from asset_ledger.sources.wsman import lockout
from asset_ledger.sources.wsman.lockout import MOST_REFUSALS, Trials, is_domain_account

GOES_ON = threading.Event()


def in_the_middle(trials: Trials, count: int = MOST_REFUSALS) -> None:
    for number in range(count):
        trials.admit(GOES_ON, f"192.0.2.{number}")


@pytest.mark.parametrize(
    ("username", "domain"),
    [("LAB\\ledger", True), ("ledger@lab.example", True), ("ledger", False), (".\\ledger", False), ("\\ledger", False)],
)
def test_only_an_account_that_all_hosts_share_can_be_locked_for_all(username: str, domain: bool) -> None:
    assert is_domain_account(username) is domain


def test_after_three_refusals_nobody_else_is_shown_the_account() -> None:
    trials = Trials(errors.AUTH_FAILED)
    in_the_middle(trials)
    for _ in range(MOST_REFUSALS):
        trials.ended(taken=False, refused=True)
    with pytest.raises(TargetError, match="3 hosts of this run refused the account and none took it") as caught:
        trials.admit(GOES_ON, "192.0.2.9")
    assert (caught.value.code, caught.value.target) == (errors.AUTH_FAILED, "192.0.2.9")


def test_once_one_host_has_taken_it_no_refusal_counts() -> None:
    trials = Trials(errors.AUTH_FAILED)
    in_the_middle(trials)
    trials.ended(taken=True, refused=False)
    for _ in range(2):
        trials.ended(taken=False, refused=True)
    for _ in range(20):
        trials.admit(GOES_ON, "192.0.2.9")
        trials.ended(taken=False, refused=True)


def test_a_connection_that_ends_in_between_is_no_refusal_and_makes_room() -> None:
    trials = Trials(errors.AUTH_FAILED)
    for _ in range(10):
        in_the_middle(trials)
        for _ in range(MOST_REFUSALS):
            trials.ended(taken=False, refused=False)


def test_who_waits_goes_on_as_soon_as_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", 30)
    trials = Trials(errors.AUTH_FAILED)
    in_the_middle(trials)
    waiting = [threading.Thread(target=trials.admit, args=[GOES_ON, f"192.0.2.{n}"]) for n in range(8)]
    for each in waiting:
        each.start()
    time.sleep(0.05)
    assert all(each.is_alive() for each in waiting)
    trials.ended(taken=True, refused=False)
    for each in waiting:
        each.join(2)
    assert not any(each.is_alive() for each in waiting)


def test_hosts_that_never_say_a_word_are_waited_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", 0.3)
    trials = Trials(errors.AUTH_FAILED)
    in_the_middle(trials)
    began = time.monotonic()
    trials.admit(GOES_ON, "192.0.2.9")
    assert 0.25 < time.monotonic() - began < 2


def test_who_waits_while_the_run_is_stopped_stops() -> None:
    trials, stop = Trials(errors.AUTH_FAILED), threading.Event()
    in_the_middle(trials)
    threading.Timer(0.05, stop.set).start()
    began = time.monotonic()
    with pytest.raises(AbandonedError):
        trials.admit(stop, "192.0.2.9")
    assert time.monotonic() - began < 1
