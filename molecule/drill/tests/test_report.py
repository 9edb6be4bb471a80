# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report in a real browser: Debian's chromium and chromium-driver. Screenshots are left in .lab/reports/drill.

DRILL_REPORT=…/report.html pytest molecule/drill/tests/test_report.py       for another one than the scenario's
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

FOLDER = Path(__file__).resolve().parents[3] / ".lab" / "reports" / "drill"
REPORT = Path(os.environ.get("DRILL_REPORT", FOLDER / "matrix-report.html"))


@pytest.fixture(params=[("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)], ids=lambda p: f"{p[0]}-{p[1]}")
def page(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    scheme, width = request.param
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert browser and driver, "apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        # Windows have a least width, so the page's is set as by the developer tools.
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        chrome.get(REPORT.as_uri())
        yield chrome
        height = min(int(chrome.execute_script("return document.documentElement.scrollHeight")), 6000)
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "height": height})
        assert chrome.save_screenshot(str(FOLDER / f"report-{scheme}-{width}.png"))
    finally:
        chrome.quit()


def test_the_report_is_whole_readable_and_needs_no_network(page: webdriver.Chrome) -> None:
    rows = page.find_elements(By.CSS_SELECTOR, "#summary tbody tr")
    articles = page.find_elements(By.TAG_NAME, "article")
    assert rows and len(rows) == len(articles)
    for row in rows:
        link = row.find_element(By.CSS_SELECTOR, "a.tag")
        assert page.find_element(By.ID, (link.get_attribute("href") or "").partition("#")[2])
    drawn = [
        svg for svg in page.find_elements(By.TAG_NAME, "svg") if svg.size["height"] > 60 and svg.size["width"] > 300
    ]
    assert drawn and len(drawn) == len(page.find_elements(By.TAG_NAME, "svg"))
    assert page.find_elements(By.CSS_SELECTOR, "#published tbody tr a[href^='https://']")
    # Wide tables scroll in themselves, the page does not.
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert loaded == [], loaded
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_texts_stand_out_from_the_paper(page: webdriver.Chrome) -> None:
    """At least 4.5 : 1, as WCAG wants it, in both schemes."""
    script = """
    const lum = c => { const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map(v => { v /= 255;
      return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
    const paper = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
      if (c !== 'rgba(0, 0, 0, 0)') return c } return 'rgb(255, 255, 255)' };
    const texts = [...document.querySelectorAll('h1, h2, h3, p, th, td, dt, dd, .tag')].filter(e => e.innerText.trim());
    return texts.map(e => {
      const [a, b] = [lum(getComputedStyle(e).color), lum(paper(e))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), e.innerText.slice(0, 40)] }).filter(([ratio]) => ratio < 4.5)"""
    assert page.execute_script(script) == []
