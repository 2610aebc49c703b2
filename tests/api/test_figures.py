"""Findings in the service's metrics: by kind over all tenants, and no tenant named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Site
from tests.pipeline.telling_hooks import closed, opened, tenant


def figures(site: Site) -> dict[str, float]:
    said = site.ask("GET", "/metrics", token="").body.decode()
    assert "acme" not in said
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in said.splitlines()
        if line.startswith("asset_ledger_findings_")
    }


def test_open_findings_of_all_tenants_are_counted_by_kind_and_none_is_named(site: Site) -> None:
    site.tenant("acme")
    site.tenant("beta")
    now = datetime.now(UTC)
    with connect(site.database_url) as db:
        drifted = opened(db, now - timedelta(hours=2), "drift", "drift", "orphan")
        opened(db, now - timedelta(hours=1), "drift", of="beta")
        with as_tenant(db, tenant(db)):
            db.execute(
                "UPDATE iac.drift_findings SET unsure_since = now(), unsure_because = 'the reading is not complete'"
                " WHERE id = %s",
                [drifted[0]],
            )
    found = figures(site)
    assert found['asset_ledger_findings_open{kind="drift"}'] == 3
    assert found['asset_ledger_findings_open{kind="orphan"}'] == 1
    assert found['asset_ledger_findings_open{kind="double"}'] == 0
    assert found['asset_ledger_findings_unsure{kind="drift"}'] == 1
    assert found['asset_ledger_findings_oldest_seconds{kind="drift"}'] >= 7200
    with connect(site.database_url) as db:
        closed(db, now, drifted, "agrees")
    found = figures(site)
    assert found['asset_ledger_findings_open{kind="drift"}'] == 1
    assert found['asset_ledger_findings_open{kind="orphan"}'] == 0, "what is closed does not stay as it was last seen"
    assert found['asset_ledger_findings_oldest_seconds{kind="orphan"}'] == 0
