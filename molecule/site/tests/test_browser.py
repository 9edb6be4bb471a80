# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shop as a customer sees it, in a real browser: Debian's chromium and chromium-driver.

    pytest molecule/site/tests/test_browser.py        SHOP_URL=https://… for another shop than the lab's site

Screenshots are left in .lab/reports.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

ROOT = Path(__file__).resolve().parents[3]
REPORTS = ROOT / ".lab" / "reports"
PATIENCE = 20  # seconds for a page on a busy machine
ADDRESS = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "line1": "1 Engine Street",
    "line4": "London",
    "postcode": "N1 9GU",
}


def shop_url() -> str:
    given = os.environ.get("SHOP_URL")
    if given:
        return given.rstrip("/")
    sys.path.insert(0, str(ROOT / "molecule"))
    from lab.definitions import load

    return f"https://{load('site').vips['shop']}"


def cdn_url() -> str:
    """Where the lab's shop has its static files; any address if the shop is another one."""
    if os.environ.get("SHOP_URL"):
        return "http"
    sys.path.insert(0, str(ROOT / "molecule"))
    from lab.definitions import load

    return f"https://{load('site').vips['shop']}:8443/static/"


class Visitor:
    """A browser in the shop."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def go(self, path: str = "/") -> None:
        self.driver.get(self.url + path)

    def see(self, css: str) -> WebElement:
        wait = WebDriverWait(self.driver, PATIENCE)
        found: WebElement = wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, css), f"no {css}")
        return found

    def click(self, css: str) -> None:
        """Click and wait until the next page has come."""
        element = self.see(css)
        page = self.driver.find_element(By.TAG_NAME, "html")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()
        WebDriverWait(self.driver, PATIENCE).until(lambda driver: driver.find_element(By.TAG_NAME, "html") != page)
        ready = "return document.readyState"
        WebDriverWait(self.driver, PATIENCE).until(lambda driver: driver.execute_script(ready) == "complete")

    def fill(self, values: dict[str, str], form: str = "") -> None:
        for name, value in values.items():
            field = self.see(f"{form} [name='{name}']")
            field.clear()
            field.send_keys(value)

    def pictures_are_there(self) -> int:
        """The number of the page's pictures; fails if one is broken."""
        broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
        assert self.driver.execute_script(broken) == []
        return len(self.driver.find_elements(By.TAG_NAME, "img"))

    def style_sheets(self) -> list[str]:
        """Where the page's style sheets are from; only those that were loaded."""
        script = "return performance.getEntriesByType('resource').map(e => e.name).filter(n => /[.]css$/.test(n))"
        found: list[str] = self.driver.execute_script(script)
        return found

    def screenshot(self, name: str) -> None:
        REPORTS.mkdir(parents=True, exist_ok=True)
        self.driver.set_window_size(1280, 800)
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        self.driver.set_window_size(1280, min(max(height, 800), 2400))
        assert self.driver.save_screenshot(str(REPORTS / name))


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert browser and driver, "apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.accept_insecure_certs = True
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1000"):
        options.add_argument(argument)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    chrome.set_page_load_timeout(60)
    try:
        yield Visitor(chrome, shop_url())
    finally:
        chrome.quit()


def check_out(visitor: Visitor) -> str:
    """From the address to the confirmation; returns the order's number."""
    visitor.fill(ADDRESS)
    Select(visitor.see("[name='country']")).select_by_visible_text("United Kingdom")
    visitor.click("#new_shipping_address button[type='submit']")
    assert "You pay on delivery" in visitor.see("body").text
    visitor.click("#place-order")
    return visitor.see("p.lead strong").text


def test_a_guest_buys_a_mug(visitor: Visitor) -> None:
    visitor.go()
    assert visitor.pictures_are_there() > 10
    sheets = visitor.style_sheets()
    assert sheets and all(sheet.startswith(cdn_url()) for sheet in sheets)
    visitor.screenshot("shop.png")
    visitor.fill({"q": "coffee mug"})
    visitor.click("form[action='/search/'] [type='submit']")
    assert len(visitor.driver.find_elements(By.CSS_SELECTOR, "article.product_pod")) == 3
    visitor.click("article.product_pod h3 a")
    title = visitor.see(".product_main h1").text
    assert title.startswith("Coffee Mug")
    assert visitor.pictures_are_there() >= 1
    visitor.click(".add-to-basket button[type='submit']")
    visitor.go("/basket/")
    assert title in visitor.see(".basket-items").text
    visitor.click("a[href='/checkout/']")
    visitor.fill({"username": "ada@example.com"})
    visitor.click("form.card button[type='submit']")
    number = check_out(visitor)
    assert number.isdigit()
    assert title in visitor.see("body").text
    assert visitor.pictures_are_there() >= 1
    visitor.screenshot("order.png")


def test_a_registered_customer_finds_his_order_again(visitor: Visitor) -> None:
    email, password = f"ada-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(16)
    visitor.go("/accounts/login/")
    form = "#register_form"
    prefix = "registration-"
    visitor.fill({f"{prefix}email": email, f"{prefix}password1": password, f"{prefix}password2": password}, form)
    visitor.click(f"{form} button[type='submit']")
    visitor.click("#logout_link")
    visitor.go("/accounts/login/")
    visitor.fill({"login-username": email, "login-password": password}, "#login_form")
    visitor.click("#login_form button[type='submit']")
    visitor.go("/catalogue/")
    visitor.click("article.product_pod button[type='submit']")
    visitor.go("/checkout/")
    number = check_out(visitor)
    visitor.go("/accounts/orders/")
    assert number in visitor.see("body").text
