"""A customer with a phone: books on the page in a real browser, over HTTPS through the gateway, and cancels again."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as when
from selenium.webdriver.support.ui import WebDriverWait

from tests.support import cluster

pytestmark = pytest.mark.cluster
PALERMO = "barbershop-palermo"


def key_of_the_server(tenant: str) -> str:
    """Return the digest of the key of the tenant's certificate, after verifying it; the browser is told to trust exactly this key."""
    host = cluster.host_of(tenant)
    context = ssl.create_default_context(cafile=cluster.facts()["acme"]["root_ca_file"])
    with (
        socket.create_connection((cluster.facts()["node_ip"], 443), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@pytest.fixture
def phone(palermo: str, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium of a phone's size that finds the tenant at the gateway's address."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path}",
        f"--host-resolver-rules=MAP {cluster.host_of(palermo)} {cluster.facts()['node_ip']}",
        f"--ignore-certificate-errors-spki-list={key_of_the_server(palermo)}",
    ):
        options.add_argument(argument)
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2.0}})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    browser.set_page_load_timeout(30)
    yield browser
    browser.quit()


def test_customer_books_and_cancels_on_a_phone(phone: webdriver.Chrome) -> None:
    wait = WebDriverWait(phone, 60)
    phone.get(f"https://{cluster.host_of(PALERMO)}/")
    assert phone.find_element(By.TAG_NAME, "h1").text == "Barbería Palermo"
    assert phone.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"), "the page is wider than the phone"

    def press(selector: str) -> None:
        element = wait.until(when.presence_of_element_located((By.CSS_SELECTOR, selector)))
        phone.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", element)

    press('input[name="service"][value="corte"]')
    wait.until(lambda browser: browser.find_elements(By.CSS_SELECTOR, 'input[name="slot"]') or browser.find_element(By.ID, "next-day").is_displayed())
    if not phone.find_elements(By.CSS_SELECTOR, 'input[name="slot"]'):
        press("#next-day")
    press('input[name="slot"]')
    wait.until(when.visibility_of_element_located((By.ID, "name"))).send_keys("Cliente de prueba")
    phone.find_element(By.ID, "phone").send_keys("11 5555-1234")
    press("#submit")

    wait.until(when.visibility_of_element_located((By.ID, "mine")))
    assert phone.find_element(By.ID, "mine-title").text == "¡Te esperamos!"
    assert phone.find_element(By.ID, "mine-service").text == "Corte"

    press("#cancel")
    press("#confirm-yes")
    wait.until(lambda browser: browser.find_element(By.ID, "mine-stamp").text.lower() != "confirmado")
    severe = [entry for entry in phone.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
