"""What every tier shares: system packages that a test needs, and where the fixtures lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from asset_ledger.store.database import migrate
from tests.postgres import create_database, database_name, drop_database, shared_server

pytest_plugins = ["tests.sshd", "tests.doubles.vcenter.fixtures", "tests.redis_server"]

# no example is refused for the time that it took, or took to be made
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# A marked test says which program it needs; the value is the Debian package that brings it.
PROGRAMS = {
    "sshd": ("openssh-server", ("sshd", "/usr/sbin/sshd")),
    "chromium": ("chromium", ("chromium", "/usr/bin/chromium")),
    "tcsh": ("tcsh", ("tcsh",)),
    "fish": ("fish", ("fish",)),
    "busybox": ("busybox", ("busybox",)),
    "ksh": ("ksh", ("ksh",)),
    "strace": ("strace", ("strace",)),
    "dropbear": ("dropbear-bin", ("dropbear", "/usr/sbin/dropbear")),
    "postgresql-15": ("postgresql-15", ("/usr/lib/postgresql/15/bin/postgres",)),
    "curl": ("curl", ("curl",)),
    "redis-server": ("redis-server", ("redis-server",)),
    "jq": ("jq", ("jq",)),
    "dash": ("dash", ("dash",)),
    "bash": ("bash", ("bash",)),
    "mawk": ("mawk", ("mawk",)),
    "gawk": ("gawk", ("gawk",)),
    "original-awk": ("original-awk", ("original-awk",)),
    "systemd-analyze": ("systemd", ("systemd-analyze",)),
    "docker-compose": ("docker-compose", ("docker-compose",)),
    "promtool": ("prometheus", ("promtool",)),
    "root": ("root (a real user switch)", ()),
}


def program(name: str) -> str | None:
    """Return the path of a program that tests need, or None where it is not installed."""
    for candidate in PROGRAMS[name][1]:
        if found := shutil.which(candidate):
            return found
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew from today's answers")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("needs"):
            for name in marker.args:
                if name == "root" and hasattr(os, "geteuid") and os.geteuid() == 0:
                    continue
                if name != "root" and program(name) is not None:
                    continue
                if os.environ.get("CI") == "true":
                    continue  # under CI a missing program is a failure, and the test itself will say so
                item.add_marker(pytest.mark.skip(reason=f"needs the Debian package {PROGRAMS[name][0]}"))


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of recorded and made-up readings, one folder a platform."""
    return Path(__file__).parent / "fixtures"


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew instead of compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def template_database() -> Iterator[str]:
    """A migrated database that nobody is connected to; tests copy it."""
    url = create_database(shared_server().url("postgres"))
    migrate(url)
    yield url
    drop_database(url)


@pytest.fixture
def database_url(template_database: str) -> Iterator[str]:
    """A migrated, empty ledger of this test's own."""
    url = create_database(template_database, template=database_name(template_database))
    yield url
    drop_database(url)
