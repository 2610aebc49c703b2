"""The ledger as a run holds it: settings, sources, credentials, and connections. A plain object, cheap to make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from asset_ledger.credentials import CredentialStore
from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.iac.rules import Rules
from asset_ledger.domain.notices.receivers import Notices
from asset_ledger.pipeline import iac_file, notices_file
from asset_ledger.settings import Settings
from asset_ledger.sources.config import load_sources
from asset_ledger.sources.platform import Platform, SourceConfig
from asset_ledger.sources.registry import platform
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.embedded.server import EmbeddedServer
from asset_ledger.store.sessions import session_name
from asset_ledger.store.sources import SourceRow, ensure_source

DATABASE = "asset_ledger"


@dataclass(frozen=True)
class Ledger:
    """One installation, ready to be worked on. Nothing is opened before it is asked for."""

    settings: Settings

    @cached_property
    def url(self) -> str:
        """The ledger's database: the configured server's, or the embedded one's."""
        return self.settings.database_url or EmbeddedServer(self.settings.home).url(DATABASE)

    @cached_property
    def dagster_url(self) -> str:
        """Dagster's own database, in the same server."""
        return self.settings.dagster_database_url or EmbeddedServer(self.settings.home).url(f"{DATABASE}_dagster")

    @cached_property
    def sources(self) -> tuple[SourceConfig, ...]:
        """The configured sources that are enabled, in the file's order."""
        return tuple(source for source in self._every_source if source.enabled)

    @cached_property
    def _every_source(self) -> tuple[SourceConfig, ...]:
        return load_sources(self.settings.sources_file, self.settings.home)

    @cached_property
    def iac_rules(self) -> Rules:
        """What iac.yaml says; without the file nothing. Raises PermanentError(CONFIG_INVALID) with its problems."""
        named, file = self.settings.named_iac_file, self.settings.iac_file
        # a file that somebody named and that is gone is a mistake: it must not read as "nothing is mapped any more"
        if named is not None and not self.iac_file_is_there:
            raise PermanentError(
                CONFIG_INVALID, "there is no such file, and ASSET_LEDGER_IAC names it", target=str(file)
            )
        if not self.iac_file_is_there:
            return Rules()
        return iac_file.load(file, {source.name: source.platform for source in self._every_source})

    @cached_property
    def iac_file_is_there(self) -> bool:
        """Whether there is an iac.yaml. An empty one says that nothing is mapped, one that is gone says nothing."""
        return self.settings.iac_file.exists()

    @cached_property
    def notices(self) -> Notices:
        """What notices.yaml says; without the file nobody is told. Raises PermanentError(CONFIG_INVALID)."""
        file = self.settings.notices_file
        if file.exists():
            return notices_file.load(file, [source.name for source in self._every_source])
        if self.settings.named_notices_file is not None:
            raise PermanentError(
                CONFIG_INVALID, "there is no such file, and ASSET_LEDGER_NOTICES names it", target=str(file)
            )
        return Notices()

    @cached_property
    def credentials(self) -> CredentialStore:
        """Where references are turned into secrets."""
        return CredentialStore(self.settings.home, os.environ)

    def source(self, name: str) -> SourceConfig:
        """Return an enabled source by name. Raises PermanentError(CONFIG_INVALID) naming those there are."""
        for source in self.sources:
            if source.name == name:
                return source
        names = ", ".join(source.name for source in self.sources) or "none"
        raise PermanentError(CONFIG_INVALID, f"no enabled source has this name; there are: {names}", target=name)

    @contextmanager
    def connect(self, run_id: str | None = None) -> Iterator[Connection]:
        """Open a connection to the ledger's database, as a session of a run where one is named.

        What became of a run's network is to be known before the run is done again elsewhere.
        """
        name = "asset_ledger" if run_id is None else session_name(run_id)
        with connect(self.url, application_name=name, watchful=run_id is not None) as connection:
            yield connection


def platform_of(source: SourceConfig) -> Platform:
    """Return the platform whose code reads a source."""
    return platform(source.platform)


def source_row(connection: Connection, source: SourceConfig) -> SourceRow:
    """Return the ledger's row of a configured source, made or brought up to date."""
    found = platform_of(source)
    return ensure_source(
        connection,
        name=source.name,
        platform=found.name,
        platform_type=found.platform_type,
        source_type=found.source_type,
        zone=source.zone,
        naming_rank=found.naming_rank,
        specs_rank=found.specs_rank,
        proves=found.complete_by_nature,
        relations=found.relations,
        removal_share=source.removal_share,
        removal_at_least=source.removal_at_least,
    )
