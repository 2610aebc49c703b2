"""Errors by how one recovers, and the shape of an error code.

    LedgerError
    ├── PermanentError   the same call fails again until a person changes something
    ├── RetryableError   the same call may succeed later
    ├── TargetError      this target only; the run goes on with the others
    └── IncompleteError  a reading that is not proven whole; it carries what was counted

Every error carries an `ErrorCode`. The codes that no single platform owns stand here;
a platform's own stand in its folder, and `sources.registry.error_codes()` joins them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A stable name for a cause. `advice` is the next step, in the imperative."""

    code: str
    category: str
    retryable: bool
    meaning: str
    advice: str

    CATEGORIES: ClassVar[frozenset[str]] = frozenset(
        {"config", "auth", "permission", "network", "parse", "input", "inventory", "identity", "storage"}
    )

    def __post_init__(self) -> None:
        if self.category not in self.CATEGORIES:
            raise ValueError(f"{self.code}: unknown category {self.category!r}")


class LedgerError(Exception):
    """A failure with a code, the thing it happened to, and a message that a person can act on.

    `target` names the thing (a file, a host, a source). `str()` gives code, target, message and advice.
    """

    def __init__(self, code: ErrorCode, message: str, *, target: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.target = target

    def __str__(self) -> str:
        where = f" {self.target}:" if self.target else ""
        return f"{self.code.code}:{where} {self.message}. {self.code.advice}"


class PermanentError(LedgerError):
    """Trying again changes nothing."""


class RetryableError(LedgerError):
    """Trying again may help."""


class TargetError(LedgerError):
    """One target failed; the others are unaffected. Whether it may be retried, the code says."""


class IncompleteError(LedgerError):
    """A reading that is not the whole of its scope. `proof` is what was counted and what stands against it.

    Its code is INVENTORY_INCOMPLETE, or a platform's own where that says the cause: a right that is missing.
    """

    def __init__(self, code: ErrorCode, message: str, *, target: str, proof: Mapping[str, Any]) -> None:
        super().__init__(code, message, target=target)
        self.proof = proof


def error_of(code: ErrorCode, message: str, target: str | None = None) -> LedgerError:
    """Return the error of the family that the code belongs to: retryable or permanent."""
    family = RetryableError if code.retryable else PermanentError
    return family(code, message, target=target)


CONFIG_INVALID = ErrorCode(
    "CONFIG_INVALID",
    "config",
    False,
    "sources.yaml, iac.yaml, notices.yaml, an environment setting or an argument is missing, unreadable or wrong",
    "Correct what is named; docs/sources-yaml.md, docs/iac-yaml.md, docs/notices.md and the pages in docs/platforms/ "
    "list every field",
)
CREDENTIAL_NOT_FOUND = ErrorCode(
    "CREDENTIAL_NOT_FOUND",
    "auth",
    False,
    "a credential reference names nothing the credential store has",
    "Put it where the reference points: `asset-ledger credentials set NAME` for file:NAME, variables for env:NAME, "
    "a secret for vault:MOUNT/PATH; or correct the reference",
)
CREDENTIAL_UNREADABLE = ErrorCode(
    "CREDENTIAL_UNREADABLE",
    "auth",
    False,
    "the credential store cannot be read: no key, the wrong key, or a damaged file",
    "Give the store its key or login: ASSET_LEDGER_CREDENTIALS_KEY for the file, VAULT_TOKEN or an AppRole for Vault; "
    "correct a malformed entry",
)
STATE_KEY_UNREADABLE = ErrorCode(
    "STATE_KEY_UNREADABLE",
    "storage",
    False,
    "the keys that states are encrypted with are missing, malformed, or not those that this ledger was encrypted with",
    "Put the ring of keys back from its copy: ASSET_LEDGER_STATE_KEYS, or the file state_keys in the home folder; then "
    "start again",
)
CREDENTIAL_STORE_UNAVAILABLE = ErrorCode(
    "CREDENTIAL_STORE_UNAVAILABLE",
    "network",
    True,
    "the external credential store does not answer",
    "Check that the store is up and reachable, then run again",
)
SCHEMA_VALIDATION_FAILED = ErrorCode(
    "SCHEMA_VALIDATION_FAILED",
    "parse",
    False,
    "a parser produced a document that is not normalized-v1",
    "Report the named field with the raw observation's id: it is a defect of the platform's parser",
)
IDENTITY_CONFLICT = ErrorCode(
    "IDENTITY_CONFLICT",
    "identity",
    False,
    "the management address belongs to several ledger assets, or another agent is that machine, so nothing was written"
    " for this record",
    "Look at the named ledger assets and give each its own management address",
)
SOURCE_BUSY = ErrorCode(
    "SOURCE_BUSY",
    "inventory",
    True,
    "another run of this source is being written",
    "Wait for that run to end (`asset-ledger runs list`), then start this one again",
)
IMPORT_DAY_INVALID = ErrorCode(
    "IMPORT_DAY_INVALID",
    "input",
    False,
    "the day in the file's name is no day, lies in the future, or before the ledger begins",
    "Rename the file so that it carries the day it describes as YYYY-MM-DD, or no day for today",
)
IMPORT_NAME_INVALID = ErrorCode(
    "IMPORT_NAME_INVALID",
    "input",
    False,
    "the file's name is not UTF-8, holds control characters, or is too long for the reports that lie beside it",
    "Rename the file: up to 200 bytes of UTF-8, such as hosts_2026-11-01.csv",
)
RAW_NOT_STORED = ErrorCode(
    "RAW_NOT_STORED",
    "storage",
    True,
    "the raw reading could not be written, so nothing was derived from it",
    "Check the database's disk and log, then run again",
)
RAW_DAMAGED = ErrorCode(
    "RAW_DAMAGED",
    "storage",
    False,
    "kept raw is not what was received, so nothing can be derived from it",
    "Bring the row of ledger.asset_observations back from a backup; what was derived before stands",
)
RAW_MISSING = ErrorCode(
    "RAW_MISSING",
    "inventory",
    False,
    "no raw reading is kept for this source and day, so there is nothing to replay",
    "Choose a day whose raw was kept, or import a file for it; a live source can only be read today",
)
DATABASE_UNAVAILABLE = ErrorCode(
    "DATABASE_UNAVAILABLE",
    "storage",
    True,
    "PostgreSQL does not answer or refuses the connection",
    "Check that the server of ASSET_LEDGER_DATABASE_URL runs; where that is not set, run `asset-ledger db start`",
)
DATABASE_UNSUPPORTED = ErrorCode(
    "DATABASE_UNSUPPORTED",
    "storage",
    False,
    "the database server or its data directory is of a version this release does not open",
    "Use PostgreSQL 15 to 18; move a data directory of another major with pg_dump and psql",
)
DATABASE_NEWER = ErrorCode(
    "DATABASE_NEWER",
    "storage",
    False,
    "the database's schema is of a release that this one does not know: a newer one brought it there",
    "Install the release that wrote it; a schema does not go back by itself",
)
INVENTORY_INCOMPLETE = ErrorCode(
    "INVENTORY_INCOMPLETE",
    "inventory",
    True,
    "the reading could not be proven to be the whole of its scope, so nothing was derived from it",
    "Look at what stands against it in the run's message; grant what is missing or mend the source, then read again",
)
INVENTORY_RELATIONS_EMPTY = ErrorCode(
    "INVENTORY_RELATIONS_EMPTY",
    "inventory",
    False,
    "the reading has virtual machines and not one of them runs on anything, so nothing was derived from it",
    "Check the account's rights on hosts and clusters: a reading without them is not the truth",
)
PLAN_STALE = ErrorCode(
    "PLAN_STALE",
    "input",
    True,
    "what would be written is no longer what the plan showed, so nothing was written",
    "Make the plan again, look at it, and apply that one",
)
REBUILD_DIFFERS = ErrorCode(
    "REBUILD_DIFFERS",
    "storage",
    False,
    "what is rebuilt from raw and decisions is not what the ledger has",
    "Replay days of an older parser first; where rows were changed by hand, `asset-ledger rebuild` makes them anew; "
    "report what differs even so",
)
RESTORE_DIFFERS = ErrorCode(
    "RESTORE_DIFFERS",
    "storage",
    False,
    "what was restored is not what it was restored from",
    "Do not go on with it: see that the WAL archive has no gap and nothing wrote to the copy (docs/operations.md)",
)
DECISION_INVALID = ErrorCode(
    "DECISION_INVALID",
    "input",
    False,
    "the decision contradicts one in force, or there is nothing it could be about",
    "Look at what is in force: `asset-ledger decisions list`",
)
ASSET_NOT_FOUND = ErrorCode(
    "ASSET_NOT_FOUND",
    "input",
    False,
    "no ledger asset has this id, hostname or address",
    "Search with `asset-ledger assets list --search TEXT`",
)
ASSET_AMBIGUOUS = ErrorCode(
    "ASSET_AMBIGUOUS",
    "input",
    False,
    "several ledger assets answer to this name",
    "Use the id of the one you mean",
)
INSTANCE_NOT_FOUND = ErrorCode(
    "INSTANCE_NOT_FOUND",
    "input",
    False,
    "no database instance has this id, name or host:port",
    "Search with `asset-ledger instances list --search TEXT`",
)
INSTANCE_AMBIGUOUS = ErrorCode(
    "INSTANCE_AMBIGUOUS",
    "input",
    False,
    "several database instances answer to this name",
    "Use the id of the one you mean",
)
FINDING_NOT_FOUND = ErrorCode(
    "FINDING_NOT_FOUND",
    "input",
    False,
    "no finding of the tenant has this id, or several have ids that begin so",
    "See them with their ids: `asset-ledger findings list --all --json`",
)
CMDB_NOT_LINKED = ErrorCode(
    "CMDB_NOT_LINKED",
    "input",
    False,
    "no table of a CMDB is beside the ledger yet",
    "Bring one here as docs/cmdb.md says, then `asset-ledger cmdb link --table SCHEMA.TABLE …`",
)

CLIENT_NOT_FOUND = ErrorCode(
    "CLIENT_NOT_FOUND",
    "input",
    False,
    "no client of the tenant is called so, or several are; or its history has no such row, or not its report any more",
    "See them with their ids: `asset-ledger agents list --all`, `asset-ledger agents history CLIENT`",
)
AGENT_NOT_ENROLLED = ErrorCode(
    "AGENT_NOT_ENROLLED",
    "config",
    False,
    "this machine's agent has no identity file yet, or what is in it is none",
    "Enrol it with a user's token: `asset-ledger agent enroll --server URL --token-file FILE`",
)
AGENT_IDENTITY_UNSAFE = ErrorCode(
    "AGENT_IDENTITY_UNSAFE",
    "permission",
    False,
    "others on this machine may read the agent's token, or a user's token that it is given",
    "Give the file to its owner alone: `chmod 600 FILE`; whoever read it may report as this machine: enrol again",
)
AGENT_BUSY = ErrorCode(
    "AGENT_BUSY",
    "config",
    False,
    "another agent works in this state folder",
    "Stop that one, or give this one a folder of its own with --home",
)
AGENT_REFUSED = ErrorCode(
    "AGENT_REFUSED",
    "auth",
    False,
    "the server does not take what the agent came with",
    "Do what the server's own words say; a token that holds no more: `asset-ledger agent enroll` again",
)
AGENT_SERVER_UNAVAILABLE = ErrorCode(
    "AGENT_SERVER_UNAVAILABLE",
    "network",
    True,
    "the agent's server does not answer, or something else answers in its place",
    "Check the URL, the way to it and its certificate (--ca-file); a running agent tries again by itself",
)
AGENT_BINARY_DAMAGED = ErrorCode(
    "AGENT_BINARY_DAMAGED",
    "storage",
    False,
    "what was downloaded is not what the server promised, so it was thrown away",
    "Try again; if it stays so, look who changes it on its way, or publish that version anew",
)

MARTS_PROJECT_INVALID = ErrorCode(
    "MARTS_PROJECT_INVALID",
    "config",
    False,
    "dbt does not take the models as they stand in dbt_models/",
    "Mend the file that the message names; `asset-ledger marts docs` reads all of them again",
)
MARTS_MODEL_FAILED = ErrorCode(
    "MARTS_MODEL_FAILED",
    "storage",
    False,
    "a mart, or a view under it, could not be made: what it said before stands, and what is made of it was left out",
    "Mend the cause, which is the database's own word; then make the same days again: "
    "`asset-ledger marts build --since FIRST --until LAST`",
)
MARTS_TEST_FAILED = ErrorCode(
    "MARTS_TEST_FAILED",
    "inventory",
    False,
    "a mart was made, and a test of it found rows that should not be; what is made of that mart was left out",
    "Look at the check in the Dagster UI, which shows the first of the rows; mend the data or the model, then make the "
    "same days again: `asset-ledger marts build --since FIRST --until LAST`",
)
MARTS_BUSY = ErrorCode(
    "MARTS_BUSY",
    "storage",
    True,
    "another run makes the marts of this ledger, or somebody who reads a mart holds it",
    "Wait until it has ended, or end the session that the message names, then run again",
)
MARTS_DBT_UNAVAILABLE = ErrorCode(
    "MARTS_DBT_UNAVAILABLE",
    "config",
    False,
    "dbt could not be started, or ended without saying what it did",
    "Install the locked dependencies (requirements.lock) and start again; what it last said is in the message",
)

EXPORT_UNKNOWN = ErrorCode(
    "EXPORT_UNKNOWN",
    "input",
    False,
    "nothing that can be exported is called so, or it has no such column, or no days to choose from",
    "See what there is: `asset-ledger export --list`",
)
EXPORT_NOT_BUILT = ErrorCode(
    "EXPORT_NOT_BUILT",
    "storage",
    False,
    "this mart was not built yet, so there is nothing to export",
    "Build the marts: `asset-ledger marts build`, or materialize them in Dagster; then export again",
)
EXPORT_FILE_EXISTS = ErrorCode(
    "EXPORT_FILE_EXISTS",
    "input",
    False,
    "the file that the export would be written to is there already, so nothing was written",
    "Name another file with --output, or replace this one with --force",
)
EXPORT_FILE_UNWRITABLE = ErrorCode(
    "EXPORT_FILE_UNWRITABLE",
    "storage",
    False,
    "the file that the export would be written to cannot be written, so there is none",
    "Name a folder that is there, has room and may be written to, with --output",
)
EXPORT_TO_TERMINAL = ErrorCode(
    "EXPORT_TO_TERMINAL",
    "input",
    False,
    "Parquet and Excel are binary, and the output is a terminal",
    "Name a file with --output, pipe it somewhere, or take --format csv",
)
EXPORT_CELL_TOO_LONG = ErrorCode(
    "EXPORT_CELL_TOO_LONG",
    "input",
    False,
    "a text is longer than a cell of Excel holds, so nothing was written",
    "Take another format, which holds texts of any length: csv or parquet",
)
EXPORT_VALUE_UNFIT = ErrorCode(
    "EXPORT_VALUE_UNFIT",
    "input",
    False,
    "a value is none that the format or the program has: an infinite time, a number of too many digits",
    "Look at the named column; csv holds every number",
)
EXPORT_TOO_SLOW = ErrorCode(
    "EXPORT_TOO_SLOW",
    "storage",
    True,
    "the database took longer over an export than one may take",
    "Ask for fewer days (since, until) or other rows (filter), or try when the database is less busy",
)
EXPORT_ZONE_NEEDED = ErrorCode(
    "EXPORT_ZONE_NEEDED",
    "input",
    False,
    "the ledger's machines are of several zones, and a file to import is of one",
    "Name the zone with --zone: that of the import source that will read the file",
)
NOTICE_RECEIVER_INVALID = ErrorCode(
    "NOTICE_RECEIVER_INVALID",
    "config",
    False,
    "the address that a receiver's credential holds is none that a notice can be sent to",
    "Put a whole apprise URL into the field url of its credential: `asset-ledger credentials set NAME`; "
    "docs/notices.md has one for each service; then `asset-ledger notices test RECEIVER`",
)
NOTICE_GIVEN_UP = ErrorCode(
    "NOTICE_GIVEN_UP",
    "network",
    False,
    "a receiver did not take a notice for a day, so that it is not tried any more",
    "See why: `asset-ledger notices list`; when its receiver is back, `asset-ledger notices deliver --again`",
)
NOTICE_RUN_UNKNOWN = ErrorCode(
    "NOTICE_RUN_UNKNOWN",
    "input",
    False,
    "no run of this id was looked at for notices, and the ledger has none",
    "See the runs with their ids: `asset-ledger runs list`; one that has just ended is looked at within a minute, "
    "while `asset-ledger up` or Dagster's daemon runs",
)

CORE_CODES: tuple[ErrorCode, ...] = (
    CONFIG_INVALID,
    CREDENTIAL_NOT_FOUND,
    CREDENTIAL_UNREADABLE,
    STATE_KEY_UNREADABLE,
    CREDENTIAL_STORE_UNAVAILABLE,
    SCHEMA_VALIDATION_FAILED,
    IDENTITY_CONFLICT,
    SOURCE_BUSY,
    IMPORT_DAY_INVALID,
    IMPORT_NAME_INVALID,
    RAW_NOT_STORED,
    RAW_DAMAGED,
    RAW_MISSING,
    DATABASE_UNAVAILABLE,
    DATABASE_UNSUPPORTED,
    DATABASE_NEWER,
    INVENTORY_INCOMPLETE,
    INVENTORY_RELATIONS_EMPTY,
    PLAN_STALE,
    REBUILD_DIFFERS,
    RESTORE_DIFFERS,
    DECISION_INVALID,
    ASSET_NOT_FOUND,
    ASSET_AMBIGUOUS,
    INSTANCE_NOT_FOUND,
    INSTANCE_AMBIGUOUS,
    FINDING_NOT_FOUND,
    CMDB_NOT_LINKED,
    CLIENT_NOT_FOUND,
    AGENT_NOT_ENROLLED,
    AGENT_IDENTITY_UNSAFE,
    AGENT_BUSY,
    AGENT_REFUSED,
    AGENT_SERVER_UNAVAILABLE,
    AGENT_BINARY_DAMAGED,
    MARTS_PROJECT_INVALID,
    MARTS_MODEL_FAILED,
    MARTS_TEST_FAILED,
    MARTS_BUSY,
    MARTS_DBT_UNAVAILABLE,
    EXPORT_UNKNOWN,
    EXPORT_NOT_BUILT,
    EXPORT_FILE_EXISTS,
    EXPORT_FILE_UNWRITABLE,
    EXPORT_TO_TERMINAL,
    EXPORT_CELL_TOO_LONG,
    EXPORT_VALUE_UNFIT,
    EXPORT_TOO_SLOW,
    EXPORT_ZONE_NEEDED,
    NOTICE_RECEIVER_INVALID,
    NOTICE_GIVEN_UP,
    NOTICE_RUN_UNKNOWN,
)
