"""Where this installation's things are. The environment is read here, when asked, and nowhere else.

Who holds a `Settings` needs no environment. Secrets are not settings: see `asset_ledger.credentials`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError

URL_NOT_ENCODED = "the URL is not valid; percent-encode signs such as % / # @ in the password"


@dataclass(frozen=True, slots=True)
class Settings:
    """One installation.

    `home` keeps what the program makes: the embedded database, Dagster's files, the credential file.
    `database_url` is None where the embedded server is used. `root` is where relative paths of
    sources.yaml begin: the folder that file is in. `named_iac_file` is None where nobody named one. `redis_url` is None
    where who is online is kept in the database. `named_dagster_config` is None where Dagster is that of one machine.
    """

    home: Path
    sources_file: Path
    database_url: str | None = field(repr=False)
    dagster_database_url: str | None = field(repr=False)
    examples: Path
    named_iac_file: Path | None = None
    named_agent_binaries: Path | None = None
    redis_url: str | None = field(default=None, repr=False)
    named_dagster_config: Path | None = None
    named_notices_file: Path | None = None
    named_parsed_models: Path | None = None

    @property
    def iac_file(self) -> Path:
        """What people say of their states: iac.yaml beside sources.yaml, if no other file is named."""
        return self.named_iac_file or self.root / "iac.yaml"

    @property
    def notices_file(self) -> Path:
        """Who is told of what went wrong: notices.yaml beside sources.yaml, if no other file is named."""
        return self.named_notices_file or self.root / "notices.yaml"

    @property
    def agent_binaries(self) -> Path:
        """Where the published agents' files are; several services of one ledger share it."""
        return self.named_agent_binaries or self.home / "agent-binaries"

    @property
    def parsed_models(self) -> Path:
        """Where the parsed dbt project is kept, by a digest of the models: an image may bring it along."""
        return self.named_parsed_models or self.home / "dbt" / "parsed"

    @property
    def root(self) -> Path:
        return self.sources_file.parent

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @staticmethod
    def load(environ: Mapping[str, str] | None = None) -> Settings:
        """Read the ASSET_LEDGER_* variables. Raises PermanentError(CONFIG_INVALID) naming a wrong one."""
        env = os.environ if environ is None else environ
        here = Path.cwd()
        sources_file = Path(env.get("ASSET_LEDGER_SOURCES") or here / "sources.yaml").expanduser().absolute()
        home = Path(env.get("ASSET_LEDGER_HOME") or sources_file.parent / ".asset_ledger").expanduser().absolute()
        iac_file = env.get("ASSET_LEDGER_IAC") or None
        notices_file = env.get("ASSET_LEDGER_NOTICES") or None
        binaries = env.get("ASSET_LEDGER_AGENT_BINARIES") or None
        parsed = env.get("ASSET_LEDGER_PARSED_MODELS") or None
        url = env.get("ASSET_LEDGER_DATABASE_URL") or None
        dagster_url = env.get("ASSET_LEDGER_DAGSTER_DATABASE_URL") or None
        for name, value in (("ASSET_LEDGER_DATABASE_URL", url), ("ASSET_LEDGER_DAGSTER_DATABASE_URL", dagster_url)):
            if value is not None:
                _check_url(name, value)
        dagster_config = env.get("ASSET_LEDGER_DAGSTER_CONFIG") or None
        redis_url = env.get("ASSET_LEDGER_REDIS_URL") or None
        if redis_url is not None:
            _check_redis_url("ASSET_LEDGER_REDIS_URL", redis_url)
        if url is not None and dagster_url is None:
            dagster_url = beside(url)
        return Settings(
            home=home,
            sources_file=sources_file,
            database_url=url,
            dagster_database_url=dagster_url,
            examples=Path(__file__).resolve().parent.parent / "examples",
            named_iac_file=None if iac_file is None else Path(iac_file).expanduser().absolute(),
            redis_url=redis_url,
            named_dagster_config=None if dagster_config is None else Path(dagster_config).expanduser().absolute(),
            named_notices_file=None if notices_file is None else Path(notices_file).expanduser().absolute(),
            named_parsed_models=None if parsed is None else Path(parsed).expanduser().absolute(),
            named_agent_binaries=None if binaries is None else Path(binaries).expanduser().absolute(),
        )


def beside(url: str) -> str:
    """Return the URL of Dagster's own database, in the same server, named after the ledger's."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path + "_dagster"))


def _check_url(name: str, value: str) -> None:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("postgresql", "postgres") and parts.path.strip("/") != "" and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is no number
        usable = False
    if not _is_encoded(value):
        raise PermanentError(CONFIG_INVALID, URL_NOT_ENCODED, target=name)
    if not usable:
        raise PermanentError(
            CONFIG_INVALID, "must look like postgresql://USER:PASSWORD@HOST:PORT/DATABASE", target=name
        )


def _check_redis_url(name: str, value: str) -> None:
    """Raise PermanentError(CONFIG_INVALID). TLS is always verified; of options an authority's file alone is taken."""
    try:
        parts = urlsplit(value)
        usable = (
            parts.scheme in ("redis", "rediss")
            and bool(parts.hostname)
            and parts.port != 0
            and re.fullmatch(r"/?|/\d{1,5}", parts.path) is not None
            and (parts.query == "" or (parts.scheme == "rediss" and parts.query.startswith("ssl_ca_certs=")))
            and "&" not in parts.query
        )
    except ValueError:
        usable = False
    if not _is_encoded(value):
        raise PermanentError(CONFIG_INVALID, URL_NOT_ENCODED, target=name)
    if not usable:
        raise PermanentError(
            CONFIG_INVALID,
            "must look like redis://USER:PASSWORD@HOST:PORT/NUMBER, or rediss://… with TLS (?ssl_ca_certs=FILE)",
            target=name,
        )


def _is_encoded(value: str) -> bool:
    """Say whether every reader would split the URL alike. Where not, a piece of the password passes for a host."""
    _scheme, _, rest = value.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user, at, _host = authority.rpartition("@")
    path, _, options = rest[len(authority) :].partition("?")
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00|#|\s|[\x00-\x1f\x7f]", value):
        return False
    if re.search(r"[@\[\]]", user) or "@" in path or ("@" in options and not at):
        return False
    try:
        unquote(value, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
