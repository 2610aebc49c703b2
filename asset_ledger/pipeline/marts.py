"""How dbt is called: where it finds the database, what it writes where, and what it says of each model and test.

dbt is a process of its own, given what it needs and no more. `dbt_models/` is read and never written to: the parsed
project lies in the home folder, by a digest of the models, and is made anew when they change. Knows no Dagster.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from asset_ledger.domain.calendar import each_day
from asset_ledger.domain.errors import (
    CONFIG_INVALID,
    MARTS_BUSY,
    MARTS_DBT_UNAVAILABLE,
    MARTS_MODEL_FAILED,
    MARTS_PROJECT_INVALID,
    MARTS_TEST_FAILED,
    LedgerError,
    PermanentError,
    RetryableError,
)
from asset_ledger.pipeline.children import ended_with_parent
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.store.database import Connection, libpq_variables, words_of
from asset_ledger.store.marts import Broken, broken_days, broken_rows, note_broken_days

PROJECT = Path(__file__).resolve().parents[2] / "dbt_models"
STOP_S = 10.0
LOCK_S = 10
"""How long dbt waits to put a table in its place, which everybody waits for who asks for the table meanwhile."""
JOB = "marts_build"
_PARTIAL = "partial_parse.msgpack"
_UNHANDLED = 2
_FORMAT = 1
"""Of what is kept of a parsed project; one more when that changes."""
_DONE = ("success", "pass", "warn", "no-op")
_HELD = re.compile("due to lock timeout|deadlock detected")
_NEEDED = {
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "TZ", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONIOENCODING", "SYSTEMROOT"),
}
_NEEDED_LIKE = ("LC_", "SSL_CERT_")
# where the server's key and the password are, if the URL does not say
_OF_LIBPQ = {
    *("PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL", "PGCHANNELBINDING"),
    *("PGREQUIREAUTH", "PGGSSENCMODE", "PGKRBSRVNAME", "PGREQUIREPEER"),
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """What dbt did with a model or a test. `status` is dbt's word: success, pass, warn, fail, error, skipped.

    `failures` are the rows that a test found, `written` those that a model wrote, where dbt was told; `query` is the
    SQL that was run.
    """

    unique_id: str
    is_test: bool
    status: str
    message: str | None
    failures: int | None
    written: int | None
    duration_s: float
    query: str | None

    @property
    def done(self) -> bool:
        """Whether the model was made, or the test found nothing that stops anybody."""
        return self.status in _DONE

    @property
    def name(self) -> str:
        """The model's name; a test's, as far as it is a name (a long one ends in a digest)."""
        return self.unique_id.split(".")[2]

    @property
    def held(self) -> bool:
        """Whether it failed for nothing but that somebody held the table."""
        return self.status == "error" and _HELD.search(self.message or "") is not None


@dataclass(frozen=True, slots=True)
class Models:
    """A parsed project. `parsed` is what dbt keeps for itself, so as not to parse it again."""

    project: Path
    manifest: dict[str, Any]
    digest: str
    parsed: Path

    def names(self, unique_ids: Sequence[str]) -> list[str]:
        """Return the names by which these models and tests are selected."""
        return [self.manifest["nodes"][each]["name"] for each in unique_ids]


def models(ledger: Ledger, project: Path = PROJECT) -> Models:
    """Return a project as dbt parses it, from what is kept of that. Parsed by whoever comes first; others wait.

    Raises PermanentError(MARTS_PROJECT_INVALID) with dbt's words where the models are wrong.
    """
    folder, name = ledger.settings.parsed_models, digest(project)
    kept = folder / f"{name}.json"
    if not kept.exists():
        with _alone(folder):
            if not kept.exists():
                _parse(ledger, project, kept)
    return Models(project, json.loads(kept.read_bytes()), name, kept.with_suffix(".msgpack"))


def digest(project: Path = PROJECT) -> str:
    """Return what names the models as they stand: of every file's path and bytes, and of dbt's release."""
    told = hashlib.sha256(f"{_FORMAT} {version('dbt-core')} {version('dbt-postgres')}".encode())
    for path in sorted(project.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            content = path.read_bytes()
            told.update(f"\n{path.relative_to(project).as_posix()} {len(content)}\n".encode() + content)
    return told.hexdigest()[:16]


def build(
    ledger: Ledger,
    parsed: Models,
    unique_ids: Sequence[str],
    *,
    days: tuple[date, date] | None = None,
    settled_before: str = "",
    same_models: bool = False,
    say: Say = lambda _: None,
) -> list[Made]:
    """Make these models and run these tests in one call of dbt, and return what became of each, in its order.

    `days` are the first and the last that models made by days are made of. Tests that hold a mart against the ledger
    leave out what came since `settled_before` (`store.marts.settled_before`). `same_models` says that these very models
    made the marts of days the last time (`store.marts.days_made_of`). What a model that failed would have been
    followed by is skipped. Called inside `store.marts.building`. Raises PermanentError(MARTS_DBT_UNAVAILABLE) where dbt
    ends without a word on them, and (MARTS_PROJECT_INVALID) where it does not take the models.
    """
    if not unique_ids:
        return []
    arguments = ["build", "--select", *parsed.names(unique_ids), "--indirect-selection", "empty"]
    environment = dbt_environment(ledger.url)
    if days is not None:
        # not --vars: dbt parses the whole project anew for other ones
        environment |= {"ASSET_LEDGER_DBT_FIRST_DAY": f"{days[0]}", "ASSET_LEDGER_DBT_LAST_DAY": f"{days[1]}"}
    environment["ASSET_LEDGER_DBT_SETTLED_BEFORE"] = settled_before
    environment["ASSET_LEDGER_DBT_SAME_MODELS"] = "yes" if same_models else ""
    work = ledger.settings.home / "dbt" / "work"
    _reuse(parsed, work)
    results = work / "run_results.json"
    results.unlink(missing_ok=True)
    last = _dbt(parsed.project, arguments, environment, work, say)
    if not results.exists():
        raise PermanentError(MARTS_DBT_UNAVAILABLE, last or "it said nothing", target="dbt build")
    found = [_made(one) for one in json.loads(results.read_bytes())["results"]]
    left = {*unique_ids} - {one.unique_id for one in found}
    if left:
        raise PermanentError(
            MARTS_DBT_UNAVAILABLE, f"it did nothing about {', '.join(sorted(left)[:5])}; {last}", target="dbt build"
        )
    return found


def error_of(
    made: Sequence[Made], *, days: tuple[date, date] | None = None, holders: Sequence[str] = ()
) -> LedgerError | None:
    """Return the error of a build of which something failed: models before tests, what was skipped counted.

    One that is worth another try where everything that failed was held by somebody: `holders` are who, as far as known.
    """
    failed = [one for one in made if one.status in ("error", "fail")]
    if not failed:
        return None
    broken = [one for one in failed if not one.is_test]
    first, *others = broken or failed
    skipped = sum(one.status == "skipped" and not one.is_test for one in made)
    of = "" if days is None else f" of {span(days)}"
    also = f"; so did {', '.join(one.name for one in others[:5])}" if others else ""
    left = f"; {skipped} models were left out for it" if skipped else ""
    if all(one.held for one in failed):
        by = f" by {'; '.join(holders)}" if holders else ""
        return RetryableError(
            MARTS_BUSY,
            f"it could not be replaced, since it was held{by}{also}{left}; what it said before stands, and a run "
            "of Dagster's tries twice more within two minutes",
            target=f"{first.name}{of}",
        )
    return PermanentError(
        MARTS_MODEL_FAILED if broken else MARTS_TEST_FAILED,
        f"{first_words(first.message)}{also}{left}",
        target=f"{first.name}{of}",
    )


@dataclass(frozen=True, slots=True)
class Looked:
    """What a test found: the first rows that break it; and, of one by days, the `others` that broke it before."""

    rows: Sequence[Mapping[str, Any]] = ()
    others: Sequence[date] = ()


def look_closer(connection: Connection, one: Made, days: tuple[date, date] | None, *, most: int) -> Looked:
    """Return what a test found, up to `most` rows, and note of which of these days.

    What it found of other days holds until it has looked at those again. `days` is None of a test that is not by days.
    """
    failed = one.status == "fail"
    found = broken_rows(connection, one.query, most) if failed and one.query else Broken([], [])
    if days is None:
        return Looked(found.rows)
    if failed or one.status == "pass":
        broken = found.days or each_day(*days) if failed else ()
        note_broken_days(connection, one.name, days, broken)
    return Looked(found.rows, [day for day in broken_days(connection, one.name) if not days[0] <= day <= days[1]])


def span(days: tuple[date, date]) -> str:
    """Return a day, or the first and the last of several, in words."""
    return f"{days[0]}" if days[0] == days[1] else f"{days[0]} to {days[1]}"


def first_words(text: str | None, most: int = 600) -> str:
    """Return an error's text in one line, without its end where it is long, and without a full stop."""
    told = " ".join((text or "").split("Traceback (most recent call last)")[0].split())
    return (told if len(told) <= most else f"{told[:most]} …").rstrip(".")


def write_docs(folder: Path) -> None:
    """Write dbt's own pages of the models into a folder: one file that needs no server, no network and no database."""
    with tempfile.TemporaryDirectory(prefix="asset-ledger-dbt-") as name:
        # not compiled, nothing looked up in a database: the models' own descriptions say enough
        for arguments in (["parse"], ["docs", "generate", "--static", "--no-compile", "--empty-catalog"]):
            _dbt(PROJECT, arguments, dbt_environment(None), Path(name))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(name) / "static_index.html", folder / "index.html")


def _parse(ledger: Ledger, project: Path, kept: Path) -> None:
    """Parse the project and keep the result under its digest; what was kept of older models goes."""
    url: str | None = None
    # for this very database, if it can be told yet: dbt parses anew for another one
    with contextlib.suppress(LedgerError):
        url = ledger.url
    with tempfile.TemporaryDirectory(prefix="parsing-", dir=kept.parent) as name:
        work = Path(name)
        said = _dbt(project, ["parse"], dbt_environment(url), work)
        made = work / "manifest.json"
        if not made.exists():
            raise PermanentError(MARTS_DBT_UNAVAILABLE, said or "it wrote no manifest.json", target="dbt parse")
        for old in (*kept.parent.glob("*.json"), *kept.parent.glob("*.msgpack")):
            old.unlink()
        (work / _PARTIAL).replace(kept.with_suffix(".msgpack"))
        made.replace(kept)


def _reuse(models: Models, work: Path) -> None:
    """Give dbt what it kept of these models, where it has that of others."""
    work.mkdir(parents=True, exist_ok=True)
    told = work / "models"
    if models.parsed.exists() and (not told.exists() or told.read_text() != models.digest):
        shutil.copyfile(models.parsed, work / _PARTIAL)
        told.write_text(models.digest)


def _dbt(
    project: Path, arguments: Sequence[str], environment: Mapping[str, str], work: Path, say: Say = lambda _: None
) -> str:
    """Run dbt, tell what it says, and return its last words of what is wrong.

    Raises PermanentError(MARTS_PROJECT_INVALID) where it does not take the models.
    """
    command = [
        *(sys.executable, "-c", "from dbt.cli.main import cli; cli()"),
        *("--log-format", "json", "--log-level", "info", "--log-level-file", "none"),
        *arguments,
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(work), "--log-path", str(work)),
    ]
    wrong: list[str] = []
    with _process(command, environment, work) as process:
        assert process.stdout is not None
        for line in process.stdout:
            level, text = _event(line)
            if text:
                say(text)
            if text and level in ("error", None):
                wrong.append(text)
    told = first_words("\n".join(dict.fromkeys(wrong[-20:])))
    # 1: a model or a test failed, and the results say which; 2: dbt itself did
    if process.returncode == _UNHANDLED or (process.returncode == 1 and not (work / "run_results.json").exists()):
        raise PermanentError(MARTS_PROJECT_INVALID, told or "it does not say why", target=f"dbt {arguments[0]}")
    if process.returncode not in (0, 1):
        raise PermanentError(
            MARTS_DBT_UNAVAILABLE, f"it ended with code {process.returncode}: {told}", target=f"dbt {arguments[0]}"
        )
    return told


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start dbt; whoever leaves before its end stops it, so that it does not go on writing behind his back."""
    try:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=dict(environment),
            cwd=folder,
            preexec_fn=ended_with_parent(signal.SIGINT),  # noqa: PLW1509
        )
    except OSError as error:
        raise PermanentError(MARTS_DBT_UNAVAILABLE, f"{error}", target=command[0]) from error
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # dbt then cancels what the database is at
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def dbt_environment(url: str | None) -> dict[str, str]:
    """Return the environment of dbt's process: what any process needs, where the database is, and nothing else.

    What else a URL says goes to libpq by its own variables; `app.marts` opens every tenant's rows to the owner. Without
    a lock_timeout, whoever read a table and sits idle in his transaction is waited for without end; a URL may say
    another.
    """
    kept = {name: value for name, value in os.environ.items() if name in _NEEDED or name.startswith(_NEEDED_LIKE)}
    kept["DO_NOT_TRACK"] = "1"
    if url is None:
        return kept
    words = words_of(url)
    if "," in words.get("host", "") or "," in words.get("port", ""):
        raise PermanentError(
            CONFIG_INVALID, "names several servers, and dbt takes one", target="ASSET_LEDGER_DATABASE_URL"
        )
    named = {
        "ASSET_LEDGER_DBT_HOST": words.pop("host", ""),
        "ASSET_LEDGER_DBT_PORT": words.pop("port", "5432"),
        "ASSET_LEDGER_DBT_USER": words.pop("user", ""),
        "ASSET_LEDGER_DBT_DATABASE": words.pop("dbname", ""),
        # libpq may know it otherwise: from a file, or a variable of its own
        "DBT_ENV_SECRET_ASSET_LEDGER_PASSWORD": words.pop("password", None) or os.environ.get("PGPASSWORD", ""),
    }
    given = words.pop("options", "")
    options = " ".join(filter(None, (f"-c lock_timeout={LOCK_S}s", given, "-c app.marts=on", "-c TimeZone=UTC")))
    of_libpq = {name: value for name, value in os.environ.items() if name in _OF_LIBPQ}
    return kept | of_libpq | libpq_variables(words) | named | {"PGOPTIONS": options}


def _event(line: str) -> tuple[str | None, str]:
    """Return the level and the text of a line that dbt wrote; no level where it is none of its events."""
    try:
        event = json.loads(line)
        return str(event["info"]["level"]), str(event["info"]["msg"]).strip()
    except (ValueError, TypeError, KeyError):
        return None, line.strip()


def _made(result: Mapping[str, Any]) -> Made:
    return Made(
        unique_id=result["unique_id"],
        is_test=result["unique_id"].startswith("test."),
        status=result["status"],
        message=result["message"],
        failures=result["failures"],
        written=(result.get("adapter_response") or {}).get("rows_affected"),
        duration_s=round(float(result["execution_time"]), 3),
        query=result.get("compiled_code"),
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; whoever else wants it waits. The system gives back what a killed process held."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
