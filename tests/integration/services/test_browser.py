"""A customer with a phone: headless Chromium books and cancels against the real service on real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementNotInteractableException, NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.integration.services.conftest import ADMIN
from tests.unit.services.factory import DOCUMENT, document

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--lang=es-AR",
)
EVERY_DAY = {day: [{"from": "00:00", "to": "24:00"}] for day in DOCUMENT["opening_hours"]}
SHOTS = os.environ.get("BARBERPRO_SCREENSHOTS")


def midday() -> str:
    """A time zone in which it is noon now: the queue takes nobody just before closing, whenever the tests run."""
    hours = datetime.now(UTC).hour - 12
    return f"Etc/GMT{hours:+}" if hours else "Etc/GMT"


class Phone:
    """A browser of a phone's size, and what its user does."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def wait(self, condition, seconds: float = 60):
        return WebDriverWait(self.driver, seconds, poll_frequency=0.1).until(lambda _: condition())

    def one(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def tap(self, selector: str) -> None:
        self.wait(lambda: self.tap_once(selector))

    def tap_until_gone(self, selector: str) -> None:
        """Tap as people do: again, when the list was drawn anew under the finger. A button that waits for its answer takes no tap."""
        self.wait(lambda: self.all(selector))

        def gone() -> bool:
            if self.all(selector):
                self.tap_once(selector)
            return not self.all(selector)

        self.wait(gone)

    def tap_once(self, selector: str) -> bool:
        # A list that is drawn again meanwhile is looked up again.
        with contextlib.suppress(StaleElementReferenceException, ElementNotInteractableException, NoSuchElementException):
            element = self.one(selector)
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
            element.click()
            return True
        return False

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def complaints(self) -> list[str]:
        """Errors of scripts and what the content security policy blocked; refusals that a test provokes are no such."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE" and entry["source"] != "network"]

    def keep(self, name: str) -> None:
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(f"{SHOTS}/{name}.png")


@pytest.fixture(scope="module")
def phone():
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2, "touch": True}})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        yield Phone(driver)
        driver.quit()


@pytest.fixture
def shop(tenant, start):
    running = start("barberpro_booking", tenant)
    running.wait_ready()
    assert httpx.put(running.management + "/admin/settings", json=document(opening_hours=EVERY_DAY, timezone=midday()), headers=ADMIN).status_code == 200
    return running


def choose(phone: Phone, url: str) -> None:
    """Corte with Juan, tomorrow at the first free time."""
    phone.driver.get(url)
    phone.keep("1-start")
    phone.tap(".choice:first-child")
    phone.wait(lambda: phone.one("#step-staff").is_displayed())
    phone.tap('.chip:has(input[value="juan"])')
    phone.tap(".day:nth-child(2)")
    phone.wait(lambda: len(phone.all(".slot")) > 50)
    phone.keep("2-slots")
    phone.tap(".slot")
    phone.wait(lambda: phone.one("#step-customer").is_displayed())


def sent(phone: Phone, name: str, number: str) -> None:
    for field, value in (("#name", name), ("#phone", number)):
        phone.one(field).clear()
        phone.one(field).send_keys(value)
    phone.tap("#submit")


def test_book_come_back_and_cancel(phone, shop, tenant):
    choose(phone, shop.url)
    sent(phone, "Ana López", "12")
    phone.wait(lambda: phone.one("#form-error").is_displayed())
    assert phone.text("#form-error") == "Escribí un teléfono con característica, por ejemplo 11 5555-1234."
    phone.keep("3-mistake")
    sent(phone, "Ana López", "11 5555-1234")
    phone.wait(lambda: phone.one("#mine").is_displayed())
    phone.keep("4-confirmed")
    assert phone.text("#mine-title") == "¡Te esperamos!"
    assert (phone.text("#mine-service"), phone.text("#mine-staff"), phone.text("#mine-price")) == ("Corte", "Juan", "$ 9.500")
    assert tenant.sql("SELECT status, customer_name, customer_phone FROM bookings") == [("confirmed", "Ana López", "1155551234")]
    # The phone remembers: opening the page again shows the booking.
    phone.driver.get(shop.url)
    phone.wait(lambda: phone.one("#mine").is_displayed())
    phone.tap("#cancel")
    phone.wait(lambda: phone.one("#confirm").is_displayed())
    phone.keep("5-cancel")
    phone.tap("#confirm-no")
    assert tenant.sql("SELECT status FROM bookings") == [("confirmed",)]
    phone.tap("#cancel")
    phone.tap("#confirm-yes")
    phone.wait(lambda: phone.text("#mine-title") == "Turno cancelado")
    phone.keep("6-cancelled")
    assert tenant.sql("SELECT status, customer_name FROM bookings") == [("cancelled", None)]
    # No error and nothing that the content security policy had to block.
    assert phone.complaints() == []


def test_every_booking_of_a_phone_can_be_seen_and_cancelled(phone, shop, tenant):
    phone.driver.get(shop.url)
    phone.driver.execute_script("localStorage.clear()")
    choose(phone, shop.url)
    sent(phone, "Ana", "1155551234")
    phone.wait(lambda: phone.one("#mine").is_displayed())
    assert not phone.one("#others").is_displayed()
    # As the page of an earlier revision has kept it.
    phone.driver.execute_script("""
        const [one] = JSON.parse(localStorage.getItem('barberpro.turnos'));
        localStorage.clear();
        localStorage.setItem('barberpro.turno', JSON.stringify(one));
    """)
    phone.driver.get(shop.url)
    phone.wait(lambda: phone.one("#mine").is_displayed())
    first = phone.text("#mine-when")
    phone.tap("#another")
    phone.wait(lambda: phone.one("#others").is_displayed())
    assert (phone.text("#others-title"), len(phone.all("#others-list li"))) == ("Tus turnos", 1)
    phone.tap(".choice:first-child")
    phone.wait(lambda: phone.one("#step-day").is_displayed())
    phone.tap(".day:nth-child(3)")
    phone.wait(lambda: len(phone.all(".slot")) > 50)
    phone.tap(".slot")
    phone.wait(lambda: phone.one("#step-customer").is_displayed())
    sent(phone, "Ana", "1155551234")
    phone.wait(lambda: phone.one("#mine").is_displayed())
    second = phone.text("#mine-when")
    assert first != second
    phone.keep("10-two")
    # The page opens with the next one, and has the other below it.
    phone.driver.get(shop.url)
    phone.wait(lambda: phone.one("#mine").is_displayed())
    assert (phone.text("#mine-when"), phone.text("#others-title"), phone.text("#others-list")) == (first, "Tus otros turnos", f"Corte, {second}")
    phone.tap("#others-list button")
    phone.wait(lambda: phone.text("#mine-when") == second)
    assert phone.text("#others-list") == f"Corte, {first}"
    for left, when in ((1, second), (0, first)):
        phone.tap("#cancel")
        phone.tap("#confirm-yes")
        phone.wait(lambda: phone.text("#mine-title") == "Turno cancelado")
        assert phone.text("#mine-when") == when
        assert tenant.sql("SELECT count(*) FROM bookings WHERE status = 'confirmed'") == [(left,)]
        if left:
            phone.tap("#others-list button")
            phone.wait(lambda: phone.text("#mine-title") == "¡Te esperamos!")
    assert phone.driver.execute_script("return localStorage.getItem('barberpro.turnos')") == "[]"
    assert phone.complaints() == []


def test_a_slot_that_somebody_else_took_meanwhile(phone, shop):
    phone.driver.get(shop.url)
    phone.driver.execute_script("localStorage.clear()")
    choose(phone, shop.url)
    slot = phone.one('input[name="slot"]:checked').get_attribute("value")
    body = {"service": "corte", "staff": "juan", "start": slot, "customer": {"name": "Otro", "phone": "1155550000"}}
    assert httpx.post(shop.url + "/api/v1/bookings", json=body, headers={"Idempotency-Key": "somebody-else"}).status_code == 201
    sent(phone, "Ana", "1155551234")
    phone.wait(lambda: phone.text("#slots-status") == "Ese turno ya fue reservado; elegí otro horario.")
    assert slot not in [item.get_attribute("value") for item in phone.all('input[name="slot"]')]


def test_everything_has_a_name_and_is_large_enough_for_a_thumb(phone, shop):
    phone.driver.get(shop.url)
    phone.driver.execute_script("localStorage.clear()")
    choose(phone, shop.url)
    assert phone.driver.execute_script("return document.documentElement.scrollWidth") <= 390
    unnamed = "return [...document.querySelectorAll('input, select')].filter((e) => !e.labels?.length || !e.labels[0].innerText.trim()).length"
    assert phone.driver.execute_script(unnamed) == 0
    small = "return [...document.querySelectorAll('button, .choice, .chip, .day, .slot')].filter((e) => e.offsetParent && e.offsetHeight < 44).length"
    assert phone.driver.execute_script(small) == 0
    assert phone.driver.execute_script("return document.documentElement.lang") == "es-AR"


def test_the_queue_on_a_phone_and_on_the_staffs_tablet(phone, shop, tenant, start):
    queue = start("barberpro_walkin", tenant, BOOKING_URL=shop.url)
    queue.wait_ready()
    phone.driver.get(queue.url + "/walkin")
    phone.keep("7-queue")
    phone.wait(lambda: phone.text("#queue-text") == "No hay nadie esperando.")
    phone.one("#name").send_keys("Leo")
    phone.tap("#submit")
    phone.wait(lambda: phone.one("#mine").is_displayed())
    assert (phone.text("#mine-number"), phone.text("#mine-state")) == ("1", "Espera: enseguida")
    phone.keep("8-number")
    phone.driver.switch_to.new_window("tab")
    phone.driver.get(queue.url + "/walkin/staff")
    phone.one("#token").send_keys("wrong")
    phone.tap("#enter button")
    phone.wait(lambda: phone.text("#error") == "La clave no es correcta.")
    phone.one("#token").send_keys("operator-token")
    phone.tap("#enter button")
    phone.wait(lambda: "Corte · Leo" in phone.text("#tickets"))
    phone.keep("9-staff")
    for label in ("Llamar el número 1", "Sentar el número 1", "Terminar el número 1"):
        phone.tap_until_gone(f'button[aria-label="{label}"]')
    phone.wait(lambda: phone.text("#panel-text") == "No hay nadie en la fila.")
    assert tenant.sql("SELECT status, customer_name FROM walkin_tickets") == [("finished", None)]
    assert phone.complaints() == []
