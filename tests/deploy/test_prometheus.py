"""The Prometheus rules as Prometheus reads them: they load, fire above their thresholds and not at them, and ask for
figures that a running installation has, with labels that it gives them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
import yaml
from prometheus_client.parser import text_string_to_metric_families

from asset_ledger.cli.main import app
from asset_ledger.domain.calendar import collected_date
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.sources.registry import PLATFORMS, platform
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Site
from tests.conftest import program
from tests.doubles.pve import PveDouble, load
from tests.pipeline.telling_hooks import opened, tenant
from tests.sources.live import Credentials
from tests.sources.pve.live import config_of, fields_of

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "deploy" / "prometheus"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
NODE = 'instance="n:9100",job="node"'
LAB = f'{NODE},source="lab",scope="all"'
pytestmark = pytest.mark.needs("promtool")


def promtool(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [program("promtool") or "promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Case:
    """Series of an alert, a value every `step` minutes, and after how many minutes it is looked at. `labels` are those it
    fires with; `value` is how its annotations show the number. Without labels it stays silent."""

    alert: str
    series: Mapping[str, str]
    minutes: int
    labels: Mapping[str, str] | None = None
    value: str = ""
    figures: bool = True
    step: int = 1

    def document(self) -> dict[str, Any]:
        expected = []
        if self.labels is not None:
            rule = RULES[self.alert]
            expected = [
                {
                    "exp_labels": {**self.labels, **rule["labels"]},
                    "exp_annotations": {name: self._said(text) for name, text in rule["annotations"].items()},
                }
            ]
        figures = {f"asset_ledger_figures_timestamp_seconds{{{NODE}}}": f"0+{60 * self.step}x200"}
        series = {**(figures if self.figures else {}), **self.series}
        return {
            "interval": f"{self.step}m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"alertname": self.alert, "eval_time": f"{self.minutes}m", "exp_alerts": expected}],
        }

    def _said(self, text: str) -> str:
        assert self.labels is not None
        for name, label in self.labels.items():
            text = text.replace("{{ $labels." + name + " }}", label)
        return re.sub(r"\{\{ \$value[^}]*\}\}", self.value, text)


def both(
    alert: str,
    series: str,
    over: str,
    at: str,
    minutes: int,
    labels: str,
    value: str,
    *,
    more: Mapping[str, str] | None = None,
    step: int = 1,
) -> list[Case]:
    """The case over a threshold, the same a minute before its time, and the case at the threshold."""
    named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    above = {series: over, **(more or {})}
    cases = [
        Case(alert, above, minutes, named, value, step=step),
        Case(alert, {series: at, **(more or {})}, minutes, step=step),
    ]
    wait = RULES[alert].get("for")
    if wait:
        before = int(re.sub(r"\D", "", wait)) * (60 if wait.endswith("h") else 1) - step
        cases.append(Case(alert, above, before, step=step))
    return cases


TENANT = f'{NODE},tenant="acme"'
FINDING = f'{TENANT},source="lab",kind="drift"'
SERVICE = 'instance="s:8300",job="asset_ledger"'
HOOK = f'{TENANT},webhook="ops"'
RECEIVER = f'{NODE},receiver="feishu"'
CASES = [
    *both("AssetLedgerSourceStale", f"asset_ledger_source_fresh{{{LAB}}}", "0+0x60", "1+0x60", 20, LAB, ""),
    *both("AssetLedgerCollectFailing", f"pve_collect_success_rate{{{LAB}}}", "0.94+0x60", "0.95+0x60", 20, LAB, "94%"),
    *both("AssetLedgerCollectFailing", f"winrm_collect_success_rate{{{LAB}}}", "0.5+0x60", "1+0x60", 20, LAB, "50%"),
    # six within an hour; five; six within an hour and a minute
    *both("AssetLedgerRateLimited", f"pve_rate_limit_count{{{LAB}}}", "100+0x29 106+0x60", "100+0x29 105+0x60", 70, LAB, "6"),
    Case("AssetLedgerRateLimited", {f"aliyun_rate_limit_count{{{LAB}}}": "0+0x9 3+0x29 6+0x90"}, 71),
    Case("AssetLedgerRateLimited", {f"pve_rate_limit_count{{{LAB}}}": "100+0x29 106+0x90"}, 100),
    # a source whose first reading was throttled counts from nothing, but not one that is scraped for the first time
    Case("AssetLedgerRateLimited", {f"aliyun_rate_limit_count{{{LAB}}}": "_x70 9+0x60"}, 80, dict(re.findall(r'(\w+)="([^"]*)"', LAB)), "9"),
    Case("AssetLedgerRateLimited", {f"aliyun_rate_limit_count{{{LAB}}}": "9000+0x60"}, 30),
    *both("AssetLedgerGuestAgentsUnavailable", f"pve_guest_agent_unavailable_rate{{{LAB}}}", "0.51+0x60", "0.5+0x60", 20, LAB, "51%"),
    *both("AssetLedgerSizeUnusual", f"asset_ledger_source_size_usual{{{LAB}}}", "0+0x60", "1+0x60", 20, LAB, ""),
    *both("AssetLedgerRemovalsHeld", f"asset_ledger_removals_held{{{LAB}}}", "7+0x90", "0+0x90", 65, LAB, "7"),
    *both("AssetLedgerDriftOpen", f"iac_findings_open{{{FINDING}}}", "3+0x90", "2+0x90", 65, 'tenant="acme",source="lab"', "1", more={f"iac_findings_unsure{{{FINDING}}}": "2+0x90"}),
    *both("AssetLedgerFindingOld", f"iac_findings_oldest_seconds{{{FINDING}}}", "604801+0x90", "604800+0x90", 65, FINDING, "7d 0h 0m 1s"),
    *both("AssetLedgerFindingsNotLookedFor", f"pve_last_success_timestamp_seconds{{{LAB}}}", "2000+0x40", "1000+0x40", 370, f'{TENANT},source="lab"', "", more={f'iac_evaluated_timestamp_seconds{{{TENANT},source="lab"}}': "1000+0x40"}, step=10),
    *both("AssetLedgerStateParseDelayed", f"asset_ledger_state_parse_delay_seconds{{{SERVICE}}}", "601+0x60", "600+0x60", 20, SERVICE, "10m 1s"),
    *both("AssetLedgerAgentsOffline", f'asset_ledger_agents{{{TENANT},status="offline"}}', "6+0x60", "5+0x60", 20, TENANT, "54.55%", more={f'asset_ledger_agents{{{TENANT},status="online"}}': "5+0x60"}),
    *both("AssetLedgerPresenceDown", f'asset_ledger_presence_up{{{SERVICE},place="redis"}}', "0+0x60", "1+0x60", 20, f'{SERVICE},place="redis"', ""),
    *both("AssetLedgerWebhookGivenUp", f"iac_webhook_given_up{{{HOOK}}}", "4+0x144 5+0x6", "4+0x150", 1450, HOOK, "1", step=10),
    Case("AssetLedgerWebhookGivenUp", {f"iac_webhook_given_up{{{HOOK}}}": "4+0x3 5+0x150"}, 1490, step=10),  # that was yesterday
    *both("AssetLedgerWebhookWaiting", f"iac_webhook_waiting{{{HOOK}}}", "1+0x90", "0+0x90", 65, HOOK, "1"),
    *both("AssetLedgerNoticeGivenUp", f"asset_ledger_notices_given_up{{{RECEIVER}}}", "_x144 2+0x6", "2+0x150", 1450, RECEIVER, "2", step=10),
    *both("AssetLedgerNoticesWaiting", f"asset_ledger_notices_waiting{{{RECEIVER}}}", "3+0x150", "0+0x150", 1450, RECEIVER, "3", step=10),
    Case("AssetLedgerFiguresOld", {f"asset_ledger_figures_timestamp_seconds{{{NODE}}}": "0+0x60"}, 31, {"instance": "n:9100", "job": "node"}, "31m 0s", figures=False),
    Case("AssetLedgerFiguresOld", {f"asset_ledger_figures_timestamp_seconds{{{NODE}}}": "0+0x60"}, 30, figures=False),
    Case("AssetLedgerFiguresMissing", {}, 31, {}, "", figures=False),
    Case("AssetLedgerFiguresMissing", {}, 29, figures=False),
    Case("AssetLedgerFiguresMissing", {}, 31),
    *both("AssetLedgerServiceDown", f"up{{{SERVICE}}}", "0+0x60", "1+0x60", 5, SERVICE, ""),
    *both("AssetLedgerDatabaseAway", f"asset_ledger_database_up{{{SERVICE}}}", "0+0x60", "1+0x60", 5, SERVICE, ""),
    *both("AssetLedgerDatabaseErrors", f"asset_ledger_database_errors_total{{{SERVICE}}}", "1+0x14 7+0x60", "1+0x14 6+0x60", 20, SERVICE, "6"),
    *both("AssetLedgerApiErrors", f'asset_ledger_api_requests_total{{{SERVICE},what="state.read",status="500"}}', "0+6x60", "0+5x60", 20, SERVICE, "5.941%", more={f'asset_ledger_api_requests_total{{{SERVICE},what="state.read",status="200"}}': "0+95x60"}),
    *both("AssetLedgerLoginsRefused", f"asset_ledger_api_failed_logins_total{{{SERVICE}}}", "0+11x60", "0+10x60", 20, SERVICE, "110"),
    *both("AssetLedgerRetentionLate", f"asset_ledger_retention_late_seconds{{{NODE}}}", "172801+0x90", "172800+0x90", 65, NODE, "2d 0h 0m 1s"),
]  # fmt: skip


def test_prometheus_takes_the_rules_and_the_example_that_loads_them() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "rules.yaml", folder=FOLDER)
    promtool("check", "config", "prometheus.yaml", folder=FOLDER)


def tried(folder: Path, rules: Path, cases: list[Case]) -> str:
    """Let promtool try cases of one step against the rules, and return what it says."""
    steps = {case.step for case in cases}
    told = {
        "rule_files": [str(rules)],
        "evaluation_interval": f"{steps.pop()}m",
        "tests": [case.document() for case in cases],
    }
    assert not steps
    (folder / "tried.yaml").write_text(json.dumps(told))
    return promtool("test", "rules", "tried.yaml", folder=folder)


def test_there_is_a_case_of_every_alert_for_each_outcome() -> None:
    assert {case.alert for case in CASES if case.labels is not None} == set(RULES)
    assert {case.alert for case in CASES if case.labels is None} == set(RULES)


@pytest.mark.parametrize("step", [1, 10])
def test_every_alert_fires_above_its_threshold_and_is_silent_at_it_and_before_its_time(
    tmp_path: Path, step: int
) -> None:
    cases = [case for case in CASES if case.step == step]
    assert "SUCCESS" in tried(tmp_path, FOLDER / "rules.yaml", cases)


def test_a_wrong_threshold_would_be_noticed(tmp_path: Path) -> None:
    rules = (FOLDER / "rules.yaml").read_text(encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(rules.replace("> 0.5\n        for: 15m", ">= 0.5\n        for: 15m"))
    cases = [case for case in CASES if case.alert == "AssetLedgerGuestAgentsUnavailable"]
    with pytest.raises(AssertionError, match="AssetLedgerGuestAgentsUnavailable"):
        tried(tmp_path, tmp_path / "rules.yaml", cases)


def test_every_alert_says_how_bad_it_is_what_to_do_and_where_that_is_written() -> None:
    page = (PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in ("info", "warning", "critical"), name
        told = rule["annotations"]
        assert set(told) == {"summary", "description", "runbook_url"}, name
        assert told["runbook_url"] == f"docs/metrics.md#{name.lower()}"
        assert f"\n### {name}\n" in page, name
        assert "asset-ledger " in told["description"] or "deploy/" in told["description"], f"{name} has no next step"
    assert re.findall(r"^### (AssetLedger\w+)$", page, re.MULTILINE) == list(RULES)


def commands(text: str) -> set[str]:
    return set(re.findall(r"`asset-ledger ([^`]+)`", re.sub(r"\s+", " ", text)))


def test_every_command_that_people_are_told_is_one() -> None:
    texts = [
        (FOLDER / "rules.yaml").read_text(encoding="utf-8"),
        (PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8"),
    ]
    source = (PROJECT / "asset_ledger" / "assets" / "watch.py").read_text(encoding="utf-8")
    texts.append(re.sub(r'"\n\s+f?"', "", source))
    root: Any = typer.main.get_command(app)
    found = set().union(*map(commands, texts))
    assert len(found) > 15
    for said in found:
        command, words = root, said.split()
        while words and hasattr(command, "commands"):
            command = command.get_command(typer.Context(command), words.pop(0))
            assert command is not None, said
        options = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            assert not word.startswith("--") or word in options, said


_WORDS = {
    "sum",
    "max",
    "rate",
    "increase",
    "time",
    "absent",
    "offset",
    "unless",
    "and",
    "or",
    "on",
    "by",
    "group_right",
}


def asked(expr: str) -> tuple[set[str], set[str]]:
    """The names of metrics in an expression, and the patterns of names."""
    patterns = set(re.findall(r'__name__=~"([^"]+)"', expr))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on)\s*\([^)]*\)", " ", expr)
    return set(re.findall(r"\b[a-z][a-z_]{2,}\b", bare)) - _WORDS, patterns


@dataclass(frozen=True)
class Scraped:
    """What a scraper finds: of each name that is declared the label names of its samples, None where it has none now."""

    labels: Mapping[str, set[str] | None]


def parsed(text: str) -> dict[str, set[str] | None]:
    found: dict[str, set[str] | None] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(f"{family.name}_total" if family.type == "counter" else family.name, None)
        for sample in family.samples:
            found[sample.name] = (found.get(sample.name) or set()) | set(sample.labels)
    return found


@pytest.fixture
def scraped(site: Site, tmp_path: Path) -> Scraped:
    """A service that somebody used and the command over its ledger, both asked as Prometheus and cron do."""
    site.tenant("acme")
    now = datetime.now(UTC)
    with PveDouble(load("cluster")) as double, connect(site.database_url) as db:
        source = config_of(double, "agent@pve!asset")
        row = source_row(db, source)
        reader = cast("Ledger", SimpleNamespace(credentials=Credentials(fields_of("agent@pve!asset"))))
        read_source(reader, db, source, row, scope="all", run_id="r1", mode="collect")
        derive_day(db, source, row, collected_date(now), run_id="r1", mode="collect")
        opened(db, now - timedelta(hours=2), "drift")
        with as_tenant(db, tenant(db)):
            db.execute(
                "INSERT INTO agent.clients (tenant_id, enrolled_by, first_connected_at) VALUES (%s, 'ann', now())",
                [tenant(db)],
            )
        db.execute(
            "INSERT INTO audit.notices (receiver, key, severity, digest, created_at, next_at) "
            "VALUES ('feishu', 'r1', 'info', '{}', now(), now())"
        )
        said = "sources:\n  - {name: pve_x, platform: pve, endpoint: 'https://pve:8006', auth_type: api_token, credential_ref: 'env:PVE'}\n"
        (tmp_path / "sources.yaml").write_text(said)
        site.ask("GET", "/api/v1/states", token="al_nobody")
        served = site.ask("GET", "/metrics", token="").body.decode()
        done = subprocess.run(
            [sys.executable, "-m", "asset_ledger.cli.main", "metrics"],
            cwd=tmp_path,
            env={**os.environ, "ASSET_LEDGER_DATABASE_URL": site.database_url, "ASSET_LEDGER_HOME": str(tmp_path),
                 "ASSET_LEDGER_SOURCES": str(tmp_path / "sources.yaml")},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return Scraped({**parsed(served), **parsed(done.stdout)})


def test_every_figure_that_the_rules_ask_for_is_there_with_its_labels(scraped: Scraped) -> None:
    page = (PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8")
    absent: set[str] = set()
    for alert, rule in RULES.items():
        names, patterns = asked(rule["expr"])
        names -= {"up"}  # Prometheus' own
        assert names | patterns or alert == "AssetLedgerServiceDown"
        for pattern in patterns:
            told = {name for name in scraped.labels if re.fullmatch(pattern, name)}
            assert told, f"{alert} asks for {pattern}, which nobody tells"
            names |= told
        for name in names:
            assert name in scraped.labels, f"{alert} asks for {name}, which nobody tells"
            if name.startswith(("asset_ledger", "iac")):
                assert f"`{name}`" in page, f"{name} is not described"
        here = [scraped.labels[name] for name in names]
        absent |= {name for name in names if scraped.labels[name] is None}
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        used |= set(re.findall(r'\b(\w+)=~?"', rule["expr"])) - {"__name__"}
        if None not in here:
            labels = set().union(*(each or set() for each in here))
            assert used <= labels | {"instance", "job"}, f"{alert} uses labels that no figure has"
    # of these this ledger has none, and the page says that it may be so
    assert absent == {
        "asset_ledger_source_size_usual",
        "iac_evaluated_timestamp_seconds",
        "iac_webhook_given_up",
        "iac_webhook_waiting",
    }
    for name in absent:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
        assert "absent" in line or "absent, like the other" in page, name


def test_every_platform_that_is_read_has_the_figures_that_rules_ask_for_by_pattern() -> None:
    (pattern,) = asked(RULES["AssetLedgerCollectFailing"]["expr"])[1]
    (limits,) = asked(RULES["AssetLedgerRateLimited"]["expr"])[1]
    for name in PLATFORMS:
        assert re.fullmatch(pattern, f"{name}_collect_success_rate"), name
        for measure in platform(name).measures:
            if "rate_limit" in measure.name:
                assert re.fullmatch(limits, measure.name)
