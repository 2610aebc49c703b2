"""The platforms `scripted` and `spoken` are registered for the tests of this folder; every scenario runs over every double."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from asset_ledger.sources.aliyun import client as aliyun_client
from asset_ledger.sources.registry import PLATFORMS, platform
from tests.faults import aliyun, hyperv, pve, vcenter
from tests.faults.doubles import DOUBLES, Double, Scripted
from tests.faults.ledgers import SHOWN, rebuilt_differences
from tests.faults.site import Site, opened
from tests.postgres import create_database, database_name, drop_database


@pytest.fixture(autouse=True)
def scripted_platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the platforms of this folder, and forget them afterwards."""
    monkeypatch.setitem(PLATFORMS, "scripted", "tests.faults.scripted")
    monkeypatch.setenv(*aliyun.CREDENTIAL)
    monkeypatch.setenv(*hyperv.CREDENTIAL)
    # further attempts come sooner
    monkeypatch.setattr(aliyun_client, "BACKOFF_S", (0.01, 0.02, 0.03))
    monkeypatch.setenv(*pve.CREDENTIAL)
    monkeypatch.setenv(*vcenter.CREDENTIAL)
    monkeypatch.setitem(PLATFORMS, "spoken", "tests.faults.spoken")
    platform.cache_clear()
    yield
    platform.cache_clear()


@pytest.fixture(params=list(DOUBLES))
def make_double(request: pytest.FixtureRequest) -> Callable[[Path], Double]:
    """Makes the double that the scenario is played with, in a folder."""
    return DOUBLES[request.param]


@pytest.fixture
def scripted_only(make_double: Callable[[Path], Double]) -> None:
    """Skip what needs a parser that can be made wrong, or a double that another process can be."""
    if make_double is not Scripted:
        pytest.skip("played with the platform `scripted` alone")


@pytest.fixture
def site(make_double: Callable[[Path], Double], database_url: str, tmp_path: Path) -> Iterator[Site]:
    """A source over an empty ledger. What the scenario leaves must hold the bars, and be what a rebuild gives."""
    with closing(make_double(tmp_path)) as double, opened(database_url, tmp_path, double) as made:
        yield made
        made.bars.hold()
        found = rebuilt_differences(made.connection, made.double.source, *made.others)
        assert not found, "\n".join(["a rebuild gives another ledger:", *found[:SHOWN]])


@pytest.fixture
def new_site(
    make_double: Callable[[Path], Double], template_database: str, tmp_path: Path
) -> Iterator[Callable[[], Site]]:
    """Makes further sites, each over an empty ledger of its own, to compare with."""
    with ExitStack() as kept:

        def make() -> Site:
            url = create_database(template_database, template=database_name(template_database))
            kept.callback(drop_database, url)
            folder = tmp_path / database_name(url)
            folder.mkdir()
            double = kept.enter_context(closing(make_double(folder)))
            return kept.enter_context(opened(url, folder, double))

        yield make
