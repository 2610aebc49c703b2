"""Making marts in tests: an installation with the models parsed, and a copy of these with a fault."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from asset_ledger.definitions import build_definitions
from asset_ledger.pipeline.marts import JOB, PROJECT, Models, models
from tests.dagster.installation import Installation


@dataclass
class Marts:
    """An installation with marts. `models` may be of a project other than the one that is delivered."""

    installation: Installation
    models: Models

    def build(self, first: str, last: str | None = None, *, only: Sequence[str] = ()) -> dg.ExecuteInProcessResult:
        """Run the job for a day, or for a range of days, in this process; `only` names some of its marts."""
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last} if last else {}
        definitions = build_definitions(self.installation.ledger.sources, None, self.models)
        return definitions.resolve_job_def(JOB).execute_in_process(
            instance=self.installation.instance,
            partition_key=None if last else first,
            tags=tags,
            asset_selection=[dg.AssetKey(["marts", each]) for each in only] or None,
            raise_on_error=False,
        )

    def check(self, name: str, day: str | None = None) -> dg.AssetCheckEvaluation:
        """Run a check of daily_specs alone, of a day or without any, as the UI's button does, and return what it said."""
        definitions = build_definitions(self.installation.ledger.sources, None, self.models)
        key = dg.AssetCheckKey(dg.AssetKey(["marts", "daily_specs"]), name)
        job = definitions.resolve_job_def(JOB).get_subset(asset_selection=set(), asset_check_selection={key})
        done = job.execute_in_process(instance=self.installation.instance, partition_key=day, raise_on_error=False)
        (found,) = done.get_asset_check_evaluations()
        return found

    def of_faulty_models(self, files: Mapping[str, str]) -> Marts:
        """Return the same with some files of the project written anew."""
        project = self.installation.folder / "faulty"
        shutil.copytree(PROJECT, project)
        for file, text in files.items():
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            (project / file).write_text(text)
        return Marts(self.installation, models(self.installation.ledger, project))

    def days(self, mart: str) -> set[str]:
        """Return the days for which Dagster shows a mart as made."""
        return set(self.installation.instance.get_materialized_partitions(dg.AssetKey(["marts", mart])))


def calls_of_dbt(result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance) -> dict[str, int]:
    """Return how often each step of a run called dbt."""
    found: dict[str, int] = {}
    for record in instance.all_logs(result.run_id):
        if record.user_message.startswith("dbt said:") and record.step_key:
            found[record.step_key] = found.get(record.step_key, 0) + 1
    return found
