"""What an error says: code, thing, cause, next step; and in which family of recovery it is."""

from __future__ import annotations

import pytest

from asset_ledger.domain.errors import (
    CORE_CODES,
    SOURCE_BUSY,
    ErrorCode,
    LedgerError,
    PermanentError,
    RetryableError,
    TargetError,
)
from asset_ledger.sources import registry


@pytest.mark.parametrize("code", CORE_CODES, ids=lambda code: code.code)
def test_an_error_says_code_target_cause_and_advice(code: ErrorCode) -> None:
    said = str(PermanentError(code, "it is not there", target="pve_lab"))
    assert said == f"{code.code}: pve_lab: it is not there. {code.advice}"


def test_an_error_without_a_target_says_the_rest() -> None:
    assert str(RetryableError(SOURCE_BUSY, "held")) == f"SOURCE_BUSY: held. {SOURCE_BUSY.advice}"


@pytest.mark.parametrize("family", [PermanentError, RetryableError, TargetError])
def test_every_family_is_a_ledger_error(family: type[LedgerError]) -> None:
    assert issubclass(family, LedgerError)
    assert family(SOURCE_BUSY, "held", target="a").code is SOURCE_BUSY


def test_a_code_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        SOURCE_BUSY.retryable = False  # type: ignore[misc]


def test_all_codes_are_there_once_and_in_order() -> None:
    names = [code.code for code in registry.error_codes()]
    assert names == sorted(set(names))
    assert {code.code for code in CORE_CODES} <= set(names)


def test_two_codes_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = ErrorCode("SOURCE_BUSY", "inventory", retryable=False, meaning="another thing", advice="Wait")
    monkeypatch.setattr(registry, "CORE_CODES", (*CORE_CODES, twin))
    with pytest.raises(ValueError, match="SOURCE_BUSY is defined twice"):
        registry.error_codes()


def test_a_platform_that_is_not_registered_is_not_found() -> None:
    with pytest.raises(KeyError):
        registry.platform("no_such_platform")


def test_a_module_that_calls_its_platform_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PLATFORMS, "other", "asset_ledger.sources.ssh")
    with pytest.raises(TypeError, match="'other'"):
        registry.platform("other")
