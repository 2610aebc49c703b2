"""Is the program itself in order: Python, what is installed against the lock, its files, room, ports, TLS, backups."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import distributions
from pathlib import Path

from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.doctor.findings import Finding, listed, ok, problem, refused, skipped, warning
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings

OLDEST_PYTHON = (3, 11)
LOW_BYTES, FULL_BYTES = 5 << 30, 1 << 30
SOON = timedelta(days=21)
_PIN = re.compile(
    r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(?:;\s*([^\\]+?))?\s*\\?$", re.MULTILINE
)


def python(version: tuple[int, int, int] = sys.version_info[:3]) -> Finding:
    """Say whether this Python is new enough."""
    said = f"Python {'.'.join(map(str, version))}"
    if version < OLDEST_PYTHON:
        return problem("python", f"{said} is too old: 3.11 or newer is needed", "make PYTHON=python3.12 run")
    return ok("python", said)


def dependencies(lock: Path, installed: Mapping[str, str] | None = None) -> Finding:
    """Compare what is installed with the lock of this release."""
    try:
        text = lock.read_text(encoding="utf-8")
    except FileNotFoundError:
        return skipped("dependencies", f"there is no {lock.name} beside the program to compare with")
    there = _installed() if installed is None else installed
    missing, other = [], []
    count = 0
    for name, version, condition in _pins(text):
        if not _applies(condition):
            continue
        count += 1
        found = there.get(_plain(name))
        if found is None:
            missing.append(f"{name} {version}")
        elif found != version:
            other.append(f"{name} is {found}, locked is {version}")
    if missing or other:
        said = "; ".join(filter(None, (f"not installed: {listed(missing)}" if missing else "", listed(other))))
        return problem(
            "dependencies",
            f"what is installed is not what was tested: {said}",
            f"{sys.executable} -m pip install --require-hashes -r {lock.name}",
        )
    return ok("dependencies", f"{count} packages, as locked")


def _pins(text: str) -> Iterator[tuple[str, str, str | None]]:
    for found in _PIN.finditer(text):
        yield found[1], found[2], found[3]


def _applies(condition: str | None) -> bool:
    if condition is None:
        return True
    from packaging.markers import InvalidMarker, Marker

    try:
        return Marker(condition).evaluate()
    except InvalidMarker:
        return False


def _installed() -> dict[str, str]:
    found: dict[str, str] = {}
    for one in distributions():
        # of two, the first on the path is the one that is imported
        found.setdefault(_plain(one.metadata["Name"]), one.version)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def files(ledger: Ledger) -> Iterator[Finding]:
    """Say of every file that people write whether it can be read and is right."""
    try:
        names = [source.name for source in ledger.sources]
    except LedgerError as error:
        yield refused("sources.yaml", error)
    else:
        if names:
            yield ok("sources.yaml", f"{len(names)} enabled: {listed(names)}")
        else:
            yield warning(
                "sources.yaml",
                "no source in it is enabled, so nothing is ever read",
                "docs/sources-yaml.md has examples",
            )
    try:
        _ = ledger.iac_rules
    except LedgerError as error:
        yield refused("iac.yaml", error)
    else:
        there = ledger.iac_file_is_there
        yield ok("iac.yaml", "valid" if there else "there is none: no state is compared with a source")
    try:
        notices = ledger.notices
    except LedgerError as error:
        yield refused("notices.yaml", error)
        return
    if notices.warnings:
        odd = "; ".join(f"{receiver}: {words}" for receiver, words in notices.warnings)
        yield warning("notices.yaml", odd, "docs/notices.md says what a receiver may name")
    elif notices.receivers:
        yield ok("notices.yaml", f"receivers: {listed([receiver.name for receiver in notices.receivers])}")
    else:
        yield ok("notices.yaml", "nobody is told of anything")


def home(settings: Settings) -> Finding:
    """Say whether the program may write where it keeps its things."""
    folder = settings.home
    if not folder.exists():
        return warning("home", f"{folder} is not there yet", "the first `asset-ledger up` makes it")
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return problem(
            "home",
            f"{folder} cannot be written by the user of this process (uid {os.geteuid()})",
            "give the folder to the user that everything runs as, or set ASSET_LEDGER_HOME to another",
        )
    return ok("home", str(folder))


def room(check: str, folder: Path, usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage) -> Finding:
    """Say whether the file system of a folder has room left. `usage` returns bytes: all, used, free."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    whole, _, free = usage(existing)
    said = f"{free / 2**30:.1f} GiB of {whole / 2**30:.0f} free at {existing}"
    step = "make room or a larger disk: a database that runs full stops; docs/operations.md says how fast it grows"
    if free < min(FULL_BYTES, whole // 20):
        return problem(check, said, step)
    if free < min(LOW_BYTES, whole // 10):
        return warning(check, said, step)
    return ok(check, said)


def binaries(settings: Settings, published: int | None) -> Finding:
    """Say whether the folder of agents' binaries can be written, and shared where several services serve."""
    check, folder = "agent binaries", settings.agent_binaries
    if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return problem(
            check,
            f"{folder} cannot be written by the user of this process (uid {os.geteuid()}), so no version is taken",
            "give the folder to the service's user",
        )
    if published and not folder.exists():
        return problem(
            check,
            f"{published} versions of the agent are published, and {folder} is not there: agents cannot download them",
            "bring the folder back from a backup, or name the right one in ASSET_LEDGER_AGENT_BINARIES",
        )
    if settings.redis_url is not None and settings.named_agent_binaries is None:
        return warning(
            check,
            f"several services share who is online, and each keeps binaries of its own in {folder}",
            "set ASSET_LEDGER_AGENT_BINARIES to one folder that all of them see",
        )
    return ok(check, str(folder) if folder.exists() else "none yet")


def ports(wanted: Mapping[str, int], listening: Iterable[int] | None, *, up: bool) -> Iterator[Finding]:
    """Say which ports are taken already. `listening` is None where the system does not say."""
    taken = None if listening is None else set(listening)
    for name, port in wanted.items():
        check = f"port {port}"
        if taken is None:
            yield skipped(check, "this system does not say who listens")
        elif port not in taken:
            yield ok(check, f"free for the {name}") if not up else ok(check, "`asset-ledger up` runs, on another one")
        elif up:
            yield ok(check, f"taken while `asset-ledger up` runs: the {name}")
        else:
            yield warning(
                check,
                f"somebody listens there already: the {name} as a service, or another program",
                f"nothing, if it is the {name}; else see who it is (`ss -ltnp`), or give another port: `up` takes the "
                "next free one by itself",
            )


def listening() -> set[int] | None:
    """Return the TCP ports that somebody listens on, or None where the system does not say."""
    found: set[int] = set()
    seen = False
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        seen = True
        for line in lines:
            _, local, _, state = line.split()[:4]
            if state == "0A":
                found.add(int(local.rpartition(":")[2], 16))
    return found if seen else None


def certificate(path: Path, now: datetime) -> Finding:
    """Say how long the service's TLS certificate holds."""
    from cryptography.x509 import load_pem_x509_certificates

    check = "certificate"
    step = "put a new one in its place and restart the service"
    try:
        chain = load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return problem(check, f"{path} cannot be read: {error.strerror}", "name the PEM file that `serve` is given")
    except ValueError:
        return problem(check, f"{path} is no certificate in PEM", "name the PEM file that `serve` is given")
    first = min(chain, key=lambda one: one.not_valid_after_utc)
    ends = first.not_valid_after_utc
    said = f"{path} holds until {ends:%Y-%m-%d %H:%M}Z"
    late = max(one.not_valid_before_utc for one in chain)
    if late > now:
        return problem(
            check, f"{path} begins to hold only at {late:%Y-%m-%d %H:%M}Z", "look at the clock, then at the file"
        )
    if ends <= now:
        return problem(check, f"{path} ended at {ends:%Y-%m-%d %H:%M}Z: no agent and no Terraform connects", step)
    if ends - now < SOON:
        return warning(check, f"{said}, {(ends - now).days} days", step)
    return ok(check, said)


def backups(folder: Path, now: datetime, most: timedelta) -> Finding:
    """Say how old the newest base backup is. A backup is a folder with PostgreSQL's own manifest in it.

    One that is being made, or whose making was killed, is a hidden folder until it is verified, and does not count.
    """
    check = "backup"
    try:
        made = _finished_backups(folder)
    except FileNotFoundError:
        return problem(check, f"{folder} is not there", "run deploy/backup/base-backup.sh, and see that its timer runs")
    except OSError as error:
        return problem(
            check,
            f"{folder} cannot be looked at by the user of this process (uid {os.geteuid()}): {error.strerror}",
            f"run `asset-ledger doctor --backups {folder}` as the user that makes backups, or as root",
        )
    if not made:
        return problem(
            check, f"there is no finished backup in {folder}", "run deploy/backup/base-backup.sh and read what it says"
        )
    newest = max(made)
    said = f"{len(made)} in {folder}, the newest of {newest:%Y-%m-%d %H:%M}Z"
    if now - newest > most:
        return problem(
            check, f"{said}, older than {most.total_seconds() / 3600:.0f} h", "see why the timer's last run failed"
        )
    return ok(check, said)


def _finished_backups(folder: Path) -> list[datetime]:
    """Return when each finished backup was made. Raises OSError where the folder is not there or closed."""
    # is_dir() and glob() say of a closed folder that nothing is in it
    folder.stat()
    found = []
    try:
        each_one = sorted((folder / "base").iterdir())
    except FileNotFoundError:
        return []
    for each in each_one:
        if each.name.startswith("."):
            continue
        try:
            seen = (each / "backup_manifest").stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISREG(seen.st_mode):
            found.append(datetime.fromtimestamp(seen.st_mtime, UTC))
    return found
