"""Sealed values, data keys and their wrapping: what opens, what must not, and what happens while Vault is away."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barberpro_service.config import ConfigError
from barberpro_service.encryption import Context, DataKey, DataKeys, SealError, StoredKey, blind_index, key_of, open_sealed, seal, vault
from barberpro_service.encryption import keys as key_module
from barberpro_service.encryption.keys import CACHE_SECONDS, CHOICE_SECONDS, INDEX, RETRY_SECONDS
from barberpro_service.encryption.vault import Transit, read_mounted, transit_from
from barberpro_service.errors import KeysUnavailable
from barberpro_service.lifecycle import CHECK_SECONDS
from tests.support.transit import MemoryTransit

KEY = DataKey(uuid.uuid4(), bytes(range(32)))
HERE = Context("palermo", "booking-1", "bookings.customer_name")


class MemoryStore:
    def __init__(self) -> None:
        self.keys: list[StoredKey] = []
        self.pending: list[asyncio.Event] = []

    async def all(self):
        return list(self.keys)

    @asynccontextmanager
    async def making(self):
        async def keep(key):
            if not (key.purpose == INDEX and any(known.purpose == INDEX for known in self.keys)):
                self.keys.append(key)

        done = asyncio.Event()
        self.pending.append(done)
        try:
            yield keep
        finally:
            done.set()

    async def made(self):
        for done in self.pending:
            await done.wait()

    async def replace(self, key_id, old, new):
        self.keys = [StoredKey(key.id, key.purpose, new, key.created_at) if key.id == key_id and key.wrapped == old else key for key in self.keys]


def ring(tenant: str = "palermo") -> tuple[DataKeys, MemoryStore, MemoryTransit]:
    store, transit = MemoryStore(), MemoryTransit()
    return DataKeys(tenant, store, transit), store, transit


@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_what_is_sealed_opens_in_its_place_only(value, tenant, record, field):
    context = Context(tenant, record, field)
    sealed = seal(KEY, context, value)
    assert open_sealed(KEY, context, sealed) == value
    assert key_of(sealed) == KEY.id
    # The parts are kept apart: what moves from one into the next is another place.
    for other in (Context(tenant + "x", record, field), Context(tenant, record + "x", field), Context(tenant, record, field + "x")):
        with pytest.raises(SealError):
            open_sealed(KEY, other, sealed)


def test_boundaries_between_tenant_and_record_count():
    sealed = seal(KEY, Context("ab", "c", "f"), b"Ana")
    with pytest.raises(SealError, match="damaged, or was moved from elsewhere"):
        open_sealed(KEY, Context("a", "bc", "f"), sealed)


def test_every_changed_bit_is_noticed():
    sealed = seal(KEY, HERE, b"Ana")
    for position in range(len(sealed) * 8):
        damaged = bytearray(sealed)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(SealError):
            open_sealed(KEY, HERE, bytes(damaged))


def test_equal_values_look_different_and_hide_their_text():
    one, other = seal(KEY, HERE, b"Ana Torres"), seal(KEY, HERE, b"Ana Torres")
    assert one != other
    assert b"Ana" not in one + other
    assert "Ana" not in repr(KEY)
    assert repr(KEY.key) not in repr(KEY)


def test_what_is_no_sealed_value_says_so():
    with pytest.raises(SealError, match="5 bytes are no sealed value of version 1"):
        key_of(b"plain")


def test_a_blind_index_is_equal_for_equal_values_under_one_key_and_purpose():
    other = DataKey(uuid.uuid4(), bytes(32))
    assert blind_index(KEY, "phone", "+541155551234") == blind_index(KEY, "phone", "+541155551234")
    assert blind_index(KEY, "phone", "+541155551234") != blind_index(KEY, "phone", "+541155551235")
    assert blind_index(KEY, "phone", "1") != blind_index(KEY, "phon", "e1")
    assert blind_index(KEY, "phone", "1") != blind_index(other, "phone", "1")


async def test_data_keys_are_wrapped_in_the_store_and_asked_for_once():
    keys, store, transit = ring()
    sealed = [await keys.seal(str(number), "name", "Ana") for number in range(50)]
    assert [await keys.open(str(number), "name", value) for number, value in enumerate(sealed)] == ["Ana"] * 50
    assert transit.calls == ["generate"]
    assert [key.wrapped[:9] for key in store.keys] == ["vault:v1:"]
    # Another pod, which has nothing in memory.
    other = DataKeys("palermo", store, transit)
    assert await other.open("7", "name", sealed[7]) == "Ana"
    assert transit.calls == ["generate", "unwrap"]


async def test_another_tenant_cannot_open_even_with_the_keys_at_hand():
    keys, store, transit = ring()
    sealed = await keys.seal("1", "name", "Ana")
    with pytest.raises(SealError):
        await DataKeys("recoleta", store, transit).open("1", "name", sealed)


async def test_pods_that_begin_at_once_have_one_index():
    _keys, store, transit = ring()
    pods = [DataKeys("palermo", store, transit) for _pod in range(5)]
    assert len(set(await asyncio.gather(*(pod.index("phone", "1") for pod in pods)))) == 1
    assert [key.purpose for key in store.keys] == ["index"]


async def test_a_rotation_wraps_anew_and_touches_nothing_that_is_sealed():
    keys, store, transit = ring()
    sealed, index = await keys.seal("1", "name", "Ana"), await keys.index("phone", "1")
    transit.latest = 2
    assert await keys.rewrap() == (2, 2)
    transit.oldest = 2  # the old version is retired
    fresh = DataKeys("palermo", store, transit)
    assert await fresh.open("1", "name", sealed) == "Ana"
    assert await fresh.index("phone", "1") == index
    assert {key.wrapped[:9] for key in store.keys} == {"vault:v2:"}
    # What comes now is sealed with a new data key, and a second time there is nothing to do.
    assert key_of(await keys.seal("2", "name", "Luz")) != key_of(sealed)
    assert await keys.rewrap() == (0, 2)


class SlowTransit(MemoryTransit):
    """Answers when it is told to, with what was wrapped before."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def generate(self):
        made = await super().generate()
        self.asked.set()
        await self.answer.wait()
        return made


async def test_a_rotation_waits_for_a_key_that_another_pod_had_wrapped_before_it():
    store, transit = MemoryStore(), SlowTransit()
    other, keys = (DataKeys("palermo", store, transit) for _pod in range(2))
    sealing = asyncio.create_task(other.seal("1", "name", "Ana"))
    await transit.asked.wait()
    transit.latest = 2
    rotating = asyncio.create_task(keys.rewrap())
    await asyncio.sleep(0.05)
    assert not rotating.done()
    transit.answer.set()
    assert await rotating == (1, 2)
    transit.oldest = 2
    assert await DataKeys("palermo", store, transit).open("1", "name", await sealing) == "Ana"


async def test_other_pods_follow_a_rotation_without_asking_vault(monkeypatch):
    store, transit = MemoryStore(), MemoryTransit()
    rotating, other = (DataKeys("palermo", store, transit) for _pod in range(2))
    old = key_of(await rotating.seal("1", "name", "Ana"))
    assert key_of(await other.seal("2", "name", "Luz")) == old
    transit.latest = 2
    assert await rotating.rewrap() == (1, 2)
    new = key_of(await rotating.seal("3", "name", "Eva"))
    # What another service's pod is told later finds nothing to do, since the table is one for all.
    assert await other.rewrap() == (0, 2)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + CHOICE_SECONDS + 1)
    assert key_of(await other.seal("4", "name", "Sol")) == new != old
    asked = list(transit.calls)
    await other.seal("5", "name", "Mar")
    await other.by_id(old)
    assert transit.calls == asked


async def test_without_the_rotation_a_retired_version_opens_nothing():
    keys, store, transit = ring()
    sealed = await keys.seal("1", "name", "Ana")
    transit.latest = transit.oldest = 2
    with pytest.raises(KeysUnavailable, match="too old"):
        await DataKeys("palermo", store, transit).open("1", "name", sealed)


async def test_customers_go_on_booking_while_vault_is_away(monkeypatch):
    keys, _store, transit = ring()
    await keys.seal("1", "name", "Ana")
    transit.away = True
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + CACHE_SECONDS + 1)
    sealed = await keys.seal("2", "name", "Luz")
    assert key_of(sealed)
    # Not for ever: a destroyed key must come to its end.
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * CACHE_SECONDS + 2 * RETRY_SECONDS)
    with pytest.raises(KeysUnavailable, match="does not answer"):
        await keys.seal("3", "name", "Eva")


async def test_a_pod_that_starts_while_vault_is_away_is_not_ready():
    keys, _store, transit = ring()
    transit.away = True
    with pytest.raises(KeysUnavailable, match="does not answer"):
        await keys.check()


@pytest.fixture
def mounted(tmp_path):
    values = {"address": "https://vault.test:8200", "transit": "barberpro-transit", "auth": "k8s", "key": "tenant-palermo", "token": "pod-token"}
    for name, value in values.items():
        (tmp_path / name).write_text(value + "\n")
    return tmp_path


def client(folder, transit):
    found = read_mounted(folder)
    assert found is not None
    return Transit(found, httpx.MockTransport(transit.respond))


async def test_the_client_logs_in_with_the_pod_s_token_and_wraps(mounted):
    memory = MemoryTransit()
    transit = client(mounted, memory)
    plain, wrapped = await transit.generate()
    assert await transit.unwrap(await transit.rewrap(wrapped)) == plain
    assert await transit.version() == 1
    await transit.close()


async def test_the_client_says_who_refuses_what(mounted):
    (mounted / "token").write_text("another")
    with pytest.raises(KeysUnavailable, match=r"Vault at https://vault.test:8200: login as tenant-palermo: HTTP 403 permission denied"):
        await client(mounted, MemoryTransit()).version()


async def test_a_token_that_was_revoked_is_replaced(mounted):
    asked = []

    async def respond(request):
        asked.append(request.url.path)
        if request.url.path.endswith("/login"):
            return httpx.Response(200, json={"auth": {"client_token": f"t{len(asked)}", "lease_duration": 1200}})
        status = 403 if request.headers["X-Vault-Token"] == "t1" else 200
        return httpx.Response(status, json={"data": {"latest_version": 4}} if status == 200 else {"errors": ["permission denied"]})

    found = read_mounted(mounted)
    assert found is not None
    assert await Transit(found, httpx.MockTransport(respond)).version() == 4
    assert [path.rpartition("/")[2] for path in asked] == ["login", "tenant-palermo", "login", "tenant-palermo"]


async def test_a_silent_vault_is_found_out_in_time_and_once_for_all_who_wait(mounted, monkeypatch):
    memory, silent, asked = MemoryTransit(), False, []

    async def respond(request):
        asked.append(request.url.path)
        if silent:
            await asyncio.sleep(60)
        return await memory.respond(request)

    found = read_mounted(mounted)
    assert found is not None
    monkeypatch.setattr(vault, "SECONDS", 0.2)
    keys = DataKeys("palermo", MemoryStore(), Transit(found, httpx.MockTransport(respond)))
    sealed = [await keys.seal(str(number), "name", "Ana") for number in range(8)]
    silent = True
    asked.clear()
    # For the keys alone: the event loop has the same clock.
    monkeypatch.setattr(key_module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + CACHE_SECONDS + CHOICE_SECONDS))
    # A readiness check is given up after three seconds; by then the key in memory is in use again.
    assert await asyncio.wait_for(keys.check(), CHECK_SECONDS) == f"data key {key_of(sealed[0])}"
    outcomes = await asyncio.gather(*(keys.open(str(number), "name", value) for number, value in enumerate(sealed)), return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {
        "Vault at https://vault.test:8200 does not answer: it did not within 0.2 s a moment ago; see that it runs"
    }
    assert len(asked) == 1


def test_the_times_of_vault_fit_into_a_readiness_check():
    assert vault.SECONDS < CHECK_SECONDS


def test_without_a_mounted_key_there_is_no_encryption_and_half_a_key_is_an_error(tmp_path, mounted):
    assert transit_from(tmp_path / "nothing") is None
    (mounted / "transit").write_text("")
    with pytest.raises(ConfigError, match=r"file .*/transit is empty; correct that key of the ConfigMap encryption"):
        transit_from(mounted)
    (mounted / "transit").unlink()
    with pytest.raises(ConfigError, match=r"file .*/transit cannot be read: No such file or directory"):
        transit_from(mounted)
