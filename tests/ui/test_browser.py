"""The Dagster UI in a real browser, over a real `asset-ledger up`: what a data engineer sees and does on a first day."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.conftest import program
from tests.up.running import Place, place, wait_for

pytestmark = pytest.mark.needs("chromium")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NODES = ("raw_inventory", "normalized_assets", "ledger_assets", "daily_specs", "daily_ips", "database_instances")
PATIENCE_MS = 60_000
SOURCES = """
sources:
  - name: office_import
    platform: import
    description: Spreadsheets of machines and database instances, dropped by the teams.
    inbox: inbox
"""
HEADER = "mgmt_ip,hostname,asset_type,cpu_cores,memory_gb\n"
FIRST = HEADER + "192.0.2.10,db-01,vm,4,16\n192.0.2.11,web-01,vm,2,4\nno address,bad-01,vm,2,4\n"
SECOND = HEADER + "192.0.2.10,db-01,vm,8,16\n192.0.2.11,web-01,vm,2,4\n192.0.2.12,new-01,vm,2,4\n"


@pytest.fixture(scope="module")
def home() -> Iterator[Place]:
    with place(None, {"sources.yaml": SOURCES, "inbox/hosts_2026-11-01.csv": FIRST}) as made:
        os.utime(made.inbox / "hosts_2026-11-01.csv", (1, 1))
        yield made


@pytest.fixture(scope="module")
def address(home: Place) -> Iterator[str]:
    running = home.start("--port", "3100")
    yield running.url()
    assert running.stop() == 0, running.said


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, address: str, tmp_path: Any, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that may not have an error and may not ask anybody but the UI."""
    errors: list[str] = []
    strangers: list[str] = []
    context = browser.new_context(viewport={"width": 1500, "height": 950}, base_url=address)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "request",
        lambda asked: strangers.append(asked.url) if not asked.url.startswith((address, "data:", "blob:")) else None,
    )
    yield opened
    opened.screenshot(path=str(tmp_path / "last.png"))
    context.close()
    assert errors == []
    assert strangers == []


def test_the_lineage_graph_shows_the_groups_and_the_chain_of_a_source(page: Page) -> None:
    page.goto("/asset-groups")
    for group in ("office_import", "ledger"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    opened = ",".join(f"global@global:{group}" for group in ("office_import", "ledger"))
    page.goto(f"/asset-groups?expanded={quote(opened)}")
    for node in NODES:
        expect(page.get_by_text(node, exact=True).first).to_be_visible()
    for name in ("^instance_as", "^duplic"):
        expect(page.get_by_text(re.compile(name)).first).to_be_visible()  # the graph shortens long names
    page.goto("/locations/asset_ledger/asset-groups/office_import/lineage")
    # what is outside of the picture is not drawn, and the marts' views make it a tall one
    for node in (*NODES[:3], "database_instances", "instance_asset_links", "duplicate_candidates"):
        expect(page.get_by_text(node, exact=True).first).to_be_visible()


def test_an_asset_page_tells_what_it_is_and_what_was_rejected_and_draws_its_days(page: Page) -> None:
    page.goto("/assets/office_import/normalized_assets?view=overview")
    expect(page.get_by_text("Every machine of the reading as a normalized-v1 document").first).to_be_visible()
    expect(page.get_by_text("ledger.normalized_assets", exact=True).first).to_be_visible()
    expect(page.get_by_text("rejected_rows", exact=True).first).to_be_visible()
    expect(page.get_by_text("IMPORT_ADDRESS_INVALID").first).to_be_visible()
    picture = page.locator('img[src^="data:image/svg+xml,"]')
    expect(picture).to_be_visible()
    assert picture.evaluate("drawn => [drawn.naturalWidth, drawn.naturalHeight]") == [300, 40]
    expect(page.get_by_text("2 machines (of 30 days: 2 to 2), 1 target or row failed (of 30 days: 1)")).to_be_visible()
    page.get_by_text("Plots", exact=True).first.click()
    expect(page.locator("canvas").first).to_be_visible()


def test_a_day_is_materialized_by_hand_from_the_asset_page_and_succeeds(page: Page, home: Place) -> None:
    page.goto("/assets/office_import/raw_inventory?view=partitions")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    page.get_by_role("button", name="Confirm").click()  # the chain is one step: its other assets come along
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Launch runs to materialize 6 assets")).to_be_visible()
    field = dialog.get_by_role("textbox").first
    field.fill("2026-11-02")
    field.press("Enter")
    file = home.inbox / "hosts_2026-11-02.csv"
    file.write_text(SECOND)
    os.utime(file, (time.time() - 60, time.time() - 60))
    dialog.get_by_role("button", name="Launch 1 run").click()
    found = "SELECT cpu_cores FROM ledger.assets WHERE hostname = 'db-01'"
    wait_for(lambda: home.rows(found) == [{"cpu_cores": 8}], 90)
    page.goto("/assets/office_import/raw_inventory?view=partitions&partition=2026-11-02")
    expect(page.get_by_text("Materialized", exact=True).first).to_be_visible()
    expect(page.get_by_text("hosts_2026-11-02.csv").first).to_be_visible()


def test_a_decision_is_made_in_the_launchpad_whose_fields_are_filled_in(page: Page, home: Place) -> None:
    page.goto("/locations/asset_ledger/jobs/ledger_override/playground")
    editor = page.locator(".CodeMirror").first
    expect(editor).to_be_visible()
    editor.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(
        "ops: {override_field: {config: {asset: web-01, field: hostname, value: shop-01, actor: han.mei}}}"
    )
    page.get_by_role("button", name="Launch Run").click()
    found = "SELECT hostname FROM ledger.assets WHERE host(mgmt_ip) = '192.0.2.11'"
    wait_for(lambda: home.rows(found) == [{"hostname": "shop-01"}], 90)


def test_the_sensor_says_why_it_takes_nothing(page: Page) -> None:
    page.goto("/locations/asset_ledger/sensors/office_import_inbox")
    expect(page.get_by_text("Takes in CSV and Excel files dropped into inbox/").first).to_be_visible()
    reason = page.get_by_text("no file waits in inbox/").first

    def told() -> bool:
        """Point at the latest tick. It is drawn anew with each, which takes away what the pointer had opened."""
        page.mouse.move(0, 0)
        page.get_by_text("0 runs requested").first.hover()
        page.wait_for_timeout(1_000)
        return reason.is_visible()

    wait_for(told, 60)
