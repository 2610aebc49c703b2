"""Making the embedded server's cluster: initdb, its password, its settings, and which major it is of.

Here is what lies on disk; starting and stopping it is `store.embedded.server`, the only caller.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, DATABASE_UNSUPPORTED, PermanentError
from asset_ledger.store.embedded.binaries import Account, Binaries, run_as

USER = "ledger"


def demand_same_major(data: Path, binaries: Binaries) -> None:
    """Raise PermanentError where a data folder exists and is not of the binaries' major version."""
    if not data.exists():
        return
    try:
        major = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise PermanentError(
            DATABASE_UNAVAILABLE,
            "not a PostgreSQL data folder (no PG_VERSION). Move it away or restore it from a backup",
            target=str(data),
        ) from None
    if major != str(binaries.major):
        raise PermanentError(
            DATABASE_UNSUPPORTED,
            f"the data folder is of PostgreSQL {major}, the programs in {binaries.bin} are {binaries.version}. "
            f"Point ASSET_LEDGER_PG_BIN to the programs of PostgreSQL {major} to go on with it",
            target=str(data),
        )


def keep_password(file: Path) -> str:
    """Return the password in `file`, made at the first call and readable by its owner only."""
    if not file.exists():
        write_whole(file, secrets.token_urlsafe(32), 0o600)
    return file.read_text()


def create(base: Path, password: str, binaries: Binaries, account: Account, *, sync: bool) -> None:
    """Make `base/data`. It is made beside its place and moved there whole: what a kill leaves is never opened."""
    for half_made in base.glob("new-*"):
        shutil.rmtree(half_made, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="new-", dir=base))
    try:
        handed_over = work / "password"  # initdb runs as the account, which may not read the kept one
        write_whole(handed_over, password, 0o600)
        if account.switch:
            os.chown(handed_over, account.uid, account.gid)
            os.chown(work, account.uid, account.gid)
        arguments = ["-U", USER, "-A", "scram-sha-256", f"--pwfile={handed_over}", "-E", "UTF8", "--data-checksums"]
        if binaries.major >= 17:
            arguments += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        else:
            arguments += ["--locale=C.UTF-8"]
        if not sync:
            arguments.append("--no-sync")
        code, told = run_as([binaries.bin / "initdb", "-D", work / "data", *arguments], account)
        if code:
            raise PermanentError(
                DATABASE_UNAVAILABLE,
                f"initdb of PostgreSQL {binaries.version} failed: {told[-2000:]}",
                target=str(base),
            )
        (work / "data").rename(base / "data")
        _sync(base)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_configuration(file: Path, settings: Mapping[str, str]) -> None:
    """Write what every start uses, `settings` over the built-in ones; ALTER SYSTEM wins over both."""
    values = {**_settings_of_this_machine(), **settings}
    if wrong := [name for name in values if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", name)]:
        raise ValueError(f"not names of PostgreSQL settings: {wrong}")
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in values.items()]
    text = "# Written anew at every start. For lasting changes use ALTER SYSTEM.\n" + "\n".join(lines) + "\n"
    write_whole(file, text, 0o644)


def _settings_of_this_machine() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    shared = Path("/dev/shm")  # noqa: S108 - only its size is asked
    # 64 MB in a container by default: there a parallel query would end in "could not resize shared memory segment"
    roomy = not shared.is_dir() or shutil.disk_usage(shared).total >= 256 * 2**20
    return {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %d ",
        "password_encryption": "scram-sha-256",
        "shared_buffers": "256MB",
        "effective_cache_size": f"{max(512, memory // 2)}MB",
        "dynamic_shared_memory_type": "posix" if roomy else "mmap",
        "maintenance_work_mem": "256MB",
        "work_mem": "32MB",
        "synchronous_commit": "on",
        "max_wal_size": "4GB",
        "wal_compression": "on",
        "checkpoint_timeout": "15min",
        "autovacuum": "on",
        "jit": "off",
    }


def write_whole(path: Path, text: str, mode: int) -> None:
    """Replace a small file by one that is whole and on disk when this returns."""
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
