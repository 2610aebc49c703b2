"""An account that many hosts of one domain could lock: how many are asked before one of them has taken it."""

from __future__ import annotations

import threading
import time

import pytest

from asset_ledger.domain.errors import TargetError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.winrm import errors
from asset_ledger.sources.wsman import lockout
from asset_ledger.sources.wsman.client import Login
from asset_ledger.sources.wsman.lockout import (
    MOST_REFUSALS,
    MOST_SHOWN,
    Trial,
    Trials,
    is_domain_account,
    names_domain,
)
from tests.patience import FOREVER_S, PATIENCE_S, soon, until

GOES_ON = threading.Event()
LOGIN = Login("LAB\\ledger", "one")
OTHER = Login("LAB\\ledger", "another password of the same account")


def tried(trials: Trials, login: Login = LOGIN, *, shown: bool = True, count: int = MOST_REFUSALS) -> list[Trial]:
    """Begin to try the account on hosts."""
    begun = [trials.admit(login, GOES_ON, f"192.0.2.{number}") for number in range(count)]
    for trial in begun if shown else ():
        trial.show(GOES_ON)
    return begun


def all_ended(begun: list[Trial], *, taken: bool = False, refused: bool = False) -> None:
    for trial in begun:
        trial.ended(taken=taken, refused=refused)


@pytest.mark.parametrize(
    ("username", "elsewhere", "domain"),
    [
        ("LAB\\ledger", True, True),
        ("ledger@lab.example", True, True),
        ("ledger", True, False),
        ("\\ledger", True, False),
        (".\\ledger", False, False),
    ],
)
def test_only_an_account_that_is_local_in_so_many_words_is_no_other_hosts_matter(
    username: str, elsewhere: bool, domain: bool
) -> None:
    assert (is_domain_account(username), names_domain(username)) == (elsewhere, domain)


def test_after_three_refusals_nobody_else_is_shown_the_account() -> None:
    trials = Trials(errors.NOT_TRIED)
    all_ended(tried(trials), refused=True)
    with pytest.raises(TargetError, match="3 hosts of this run refused the account and none took it") as caught:
        trials.admit(LOGIN, GOES_ON, "192.0.2.9")
    assert (caught.value.code, caught.value.target) == (errors.NOT_TRIED, "192.0.2.9")


def test_once_one_host_has_taken_it_no_refusal_counts() -> None:
    trials = Trials(errors.NOT_TRIED)
    first, *others = tried(trials)
    first.ended(taken=True, refused=False)
    all_ended(others, refused=True)
    for _ in range(20):
        all_ended(tried(trials, count=1), refused=True)


def test_another_password_of_an_account_that_was_taken_is_tried_on_its_own() -> None:
    trials = Trials(errors.NOT_TRIED)
    all_ended(tried(trials), taken=True)
    for _ in range(MOST_REFUSALS):
        all_ended(tried(trials, OTHER, count=1), refused=True)
    with pytest.raises(TargetError):
        trials.admit(OTHER, GOES_ON, "192.0.2.9")
    all_ended(tried(trials), refused=True)  # the right one goes on


def test_a_host_that_ends_before_it_was_shown_the_account_is_no_refusal_and_makes_room() -> None:
    trials = Trials(errors.NOT_TRIED)
    for _ in range(10):
        all_ended(tried(trials, shown=False))


def test_hosts_that_end_after_they_were_shown_it_may_have_counted() -> None:
    trials = Trials(errors.NOT_TRIED)
    for _ in range(MOST_SHOWN):
        all_ended(tried(trials, count=1))
    with pytest.raises(TargetError, match="5 hosts of this run were shown the account and none took it"):
        trials.admit(LOGIN, GOES_ON, "192.0.2.9")


def test_who_waits_goes_on_as_soon_as_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", FOREVER_S)
    trials = Trials(errors.NOT_TRIED)
    first, *_ = tried(trials)
    waiting = [threading.Thread(target=trials.admit, args=[LOGIN, GOES_ON, f"192.0.2.{n}"]) for n in range(8)]
    for each in waiting:
        each.start()
    time.sleep(0.05)
    assert all(each.is_alive() for each in waiting)
    first.ended(taken=True, refused=False)
    for each in waiting:
        each.join(PATIENCE_S)
    assert not any(each.is_alive() for each in waiting)


def refusing(trials: Trials, hosts: int) -> tuple[list[int], list[int]]:
    """Let so many hosts try at once that all refuse; return those that were shown the account and those that were not."""
    shown: list[int] = []
    kept: list[int] = []

    def host(number: int) -> None:
        try:
            trial = trials.admit(LOGIN, GOES_ON, f"192.0.2.{number}")
            trial.show(GOES_ON)
        except TargetError:
            kept.append(number)
            return
        shown.append(number)
        time.sleep(0.05)
        trial.ended(taken=False, refused=True)

    threads = [threading.Thread(target=host, args=[number], daemon=True) for number in range(hosts)]
    for each in threads:
        each.start()
    until(lambda: not any(each.is_alive() for each in threads))
    return shown, kept


@pytest.mark.parametrize("shown", [False, True])
def test_silent_hosts_make_room_for_one_each_and_not_for_everybody(
    monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", 0.3)
    trials = Trials(errors.NOT_TRIED)
    began = time.monotonic()
    silent = tried(trials, shown=shown)
    ending = threading.Timer(1, all_ended, [silent])
    if shown:  # those that were shown it are waited for: they may still take it
        ending.start()
    told, kept = refusing(trials, 29)
    assert time.monotonic() - began > 0.3
    assert len(told) == (MOST_SHOWN - len(silent) if shown else MOST_REFUSALS)
    assert len(kept) == 29 - len(told)


def test_a_silent_host_that_wakes_up_late_is_shown_no_more_than_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", 0.1)
    trials = Trials(errors.NOT_TRIED)
    silent = tried(trials, shown=False)
    refusing(trials, 3)
    for trial in silent:
        with pytest.raises(TargetError, match="3 hosts"):
            trial.show(GOES_ON)


def test_who_waits_while_the_run_is_stopped_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", FOREVER_S)
    trials, stop = Trials(errors.NOT_TRIED), threading.Event()
    tried(trials)
    threading.Timer(0.05, stop.set).start()
    with soon(), pytest.raises(AbandonedError):
        trials.admit(LOGIN, stop, "192.0.2.9")


@pytest.mark.parametrize(("runs", "each"), [(1, MOST_REFUSALS), (2, 2), (3, 1), (8, 1)])
def test_runs_that_share_a_days_hosts_share_what_may_be_refused(runs: int, each: int) -> None:
    trials = Trials(errors.NOT_TRIED, runs=runs)
    all_ended(tried(trials, count=each), refused=True)
    with pytest.raises(TargetError, match=f"{each} hosts of this run refused"):
        trials.admit(LOGIN, GOES_ON, "192.0.2.99")


def test_a_shard_whose_first_host_takes_the_account_shows_it_to_all() -> None:
    trials = Trials(errors.NOT_TRIED, runs=8)
    all_ended(tried(trials, count=1), taken=True)
    assert len(tried(trials, count=20)) == 20
