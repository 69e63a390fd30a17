"""What the booking service does, apart from HTTP: settings, availability, booking, cancelling."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from barberpro_booking import business as settings
from barberpro_booking import repository, secrets, slots
from barberpro_booking.business import Business, Service
from barberpro_booking.schemas import BookingRequest
from barberpro_booking.tables import BOOKINGS, PERSONAL
from barberpro_service import usage
from barberpro_service.errors import Problem
from barberpro_service.hours import Period, day_bounds
from barberpro_service.logs import logger
from barberpro_service.personal.fields import Personal

if TYPE_CHECKING:
    from barberpro_service.encryption import DataKeys

LOG = logger(__name__)

KEY_LIFETIME = timedelta(hours=24)
# A deployment that was killed leaves its test booking behind; customers get the slot back by themselves.
TEST_LIFETIME = timedelta(hours=1)


@dataclass(frozen=True)
class Answer:
    """What a booking request is answered: HTTP status, body, and whether it repeats an earlier answer."""

    status: int
    body: dict[str, Any]
    replayed: bool = False


def not_found() -> Problem:
    """The same for an unknown booking and a wrong token, so that ids cannot be guessed."""
    return Problem(404, "booking_not_found", "No encontramos ese turno; revisá el enlace o la clave del turno.")


class Booking:
    """The service's operations on one engine; `clock` returns now, aware."""

    def __init__(
        self, engine: AsyncEngine, clock: Callable[[], datetime] = lambda: datetime.now(UTC), keys: DataKeys | None = None
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.customers = Personal(engine, keys, BOOKINGS, PERSONAL)

    async def business(self, connection: AsyncConnection | None = None) -> Business:
        """The settings in force.

        Raises Problem 503 before any were loaded, or when the stored ones cannot be used by this revision.
        """
        if connection is None:
            async with self.engine.connect() as own:
                return await self.business(own)
        stored = await repository.read_settings(connection)
        if stored is None:
            raise Problem(503, "not_configured", "El negocio todavía no está configurado; volvé en unos minutos.")
        try:
            return settings.load(stored.document)
        except settings.SettingsError as error:
            LOG.error("stored settings cannot be used", reason=str(error))
            raise Problem(503, "settings_unusable", "La configuración del negocio no se puede leer; avisá al local.") from error

    @staticmethod
    def _service(business: Business, service_id: str, staff_id: str | None) -> Service:
        service = business.service(service_id)
        if service is None:
            known = ", ".join(item.id for item in business.services)
            raise Problem(422, "unknown_service", f"El servicio {service_id!r} no existe; los servicios son: {known}.")
        if staff_id is not None:
            member = business.member(staff_id)
            if member is None:
                known = ", ".join(item.id for item in business.offering(service_id))
                raise Problem(422, "unknown_staff", f"{staff_id!r} no atiende en este local; para {service.name} elegí entre: {known}.")
            if service_id not in member.services:
                raise Problem(422, "staff_without_service", f"{member.name} no ofrece {service.name}; elegí otra persona.")
        return service

    async def availability(self, service_id: str, day: date, staff_id: str | None) -> tuple[Business, list[slots.Slot]]:
        """Free slots of a service on a local day, for everybody who offers it or for one."""
        async with self.engine.connect() as connection:
            business = await self.business(connection)
            service = self._service(business, service_id, staff_id)
            start, end = day_bounds(business.zone, day)
            busy = await repository.busy_periods(connection, start, end)
        return business, slots.available(business, service, day, self.clock(), busy, staff_id)

    async def busy(self, day: date | None) -> tuple[Business, date, list[Period]]:
        """Booked periods of a local day (today by default), by start; no word of who or with whom."""
        async with self.engine.connect() as connection:
            business = await self.business(connection)
            wanted = day or self.clock().astimezone(business.zone).date()
            busy = await repository.busy_periods(connection, *day_bounds(business.zone, wanted))
        return business, wanted, sorted(period for periods in busy.values() for period in periods)

    async def book(self, request: BookingRequest, key: str, test_run: str | None) -> Answer:
        """Book, or answer as before when the key was used for the same request.

        Everything is one transaction: a failure leaves neither booking nor key behind. Raises Problem 422 for what can
        never be booked and for a key that was used for another request.
        """
        key_hash = secrets.digest(key)
        # Before the transaction: no connection waits for Vault.
        booking_id = uuid.uuid4()
        request_hashes = await self.customers.digests(secrets.request_digest(request.model_dump(mode="json"), test_run))
        customer = await self.customers.columns(booking_id, customer_name=request.customer.name, customer_phone=request.customer.phone)
        async with self.engine.begin() as connection:
            earlier = await repository.claim_key(connection, key_hash, request_hashes[0])
            if earlier is not None:
                return _replay(earlier, request_hashes, key)
            business = await self.business(connection)
            service = self._service(business, request.service, request.staff)
            refused = slots.refusal(business, service, request.start, self.clock())
            if refused is not None:
                raise Problem(422, *refused)
            candidates = await self._candidates(connection, business, service, request)
            token = secrets.new_token()
            for staff_id in candidates:
                values = {"id": booking_id, **_booking_values(business, service, staff_id, request, token, test_run)}
                if await repository.insert_booking(connection, {**values, **customer}):
                    body = {**describe(values, business), "status": "confirmed"}
                    sealed = secrets.seal(token, key, str(values["id"]))
                    await repository.settle_key(
                        connection, key_hash, status=201, answer=body, sealed_token=sealed, booking_id=values["id"]
                    )
                    return Answer(201, {**body, "token": token})
            refusal = {"detail": "Ese turno ya fue reservado; elegí otro horario.", "code": "slot_taken"}
            await repository.settle_key(connection, key_hash, status=409, answer=refusal)
            return Answer(409, refusal)

    async def _candidates(
        self, connection: AsyncConnection, business: Business, service: Service, request: BookingRequest
    ) -> list[str]:
        """Who to try: the wished one, or for "anybody" those who offer the service, least booked that day first."""
        if request.staff is not None:
            return [request.staff]
        members = [member.id for member in business.offering(service.id)]
        day = request.start.astimezone(business.zone).date()
        busy = await repository.busy_periods(connection, *day_bounds(business.zone, day), members)
        return sorted(members, key=lambda member: len(busy.get(member, ())))

    async def find(self, booking_id: uuid.UUID, token: str) -> dict[str, Any]:
        """One booking for who holds its token; raises Problem 404."""
        async with self.engine.connect() as connection:
            row = await repository.read_booking(connection, booking_id)
            if row is None or not secrets.matches(token, row.token_hash):
                raise not_found()
            return {**describe(row._asdict(), await self.business(connection)), "status": row.status}

    async def cancel(self, booking_id: uuid.UUID, token: str) -> tuple[dict[str, Any], bool]:
        """Cancel for who holds the token; returns the booking and whether this call changed it.

        Raises Problem 404, and 409 for a booking that has begun.
        """
        async with self.engine.begin() as connection:
            row = await repository.read_booking(connection, booking_id, lock=True)
            if row is None or not secrets.matches(token, row.token_hash):
                raise not_found()
            changed = row.status == "confirmed"
            if changed and row.starts_at <= self.clock():
                raise Problem(409, "already_started", "El turno ya empezó y no se puede cancelar; hablá con el local.")
            if changed:
                await repository.cancel_booking(connection, booking_id)
            return {**describe(row._asdict(), await self.business(connection)), "status": "cancelled"}, changed

    async def tidy(self) -> None:
        """Forget whom past bookings were for, expired idempotency keys and left-over test bookings, seal what is plain, count the bookings made."""
        now = self.clock()
        async with self.engine.begin() as connection:
            keys, tests = await repository.purge_stale(connection, now - KEY_LIFETIME, now - TEST_LIFETIME)
        if keys or tests:
            LOG.info("tidied", idempotency_records=keys, test_bookings=tests)
        await self._forget(now)
        if sealed := await self.customers.seal_plain():
            LOG.info("customers sealed", bookings=sealed)
        async with self.engine.begin() as connection:
            # Days are the business's own, so there are none before it has told its time zone.
            if await repository.read_settings(connection) is not None:
                zone = (await self.business(connection)).zone
                first, _end = day_bounds(zone, now.astimezone(zone).date() - usage.LOOK_BACK)
                await usage.record(connection, "bookings", await repository.made_by_day(connection, zone.key, first))

    async def _forget(self, now: datetime) -> None:
        """Forget name and phone of bookings that ended long enough ago; the bookings themselves stay, they are what is counted."""
        async with self.engine.connect() as connection:
            # Nobody has booked before there were settings.
            if await repository.read_settings(connection) is None:
                return
            days = (await self.business(connection)).forget_customers_after_days
        # Before anything is sealed, which takes Vault: forgetting needs none.
        if forgotten := await self.customers.forget(BOOKINGS.c.ends_at < now - timedelta(days=days)):
            LOG.info("customers forgotten", bookings=forgotten, days=days)


def describe(values: dict[str, Any], business: Business) -> dict[str, Any]:
    """A booking as clients see it, times in the business's zone; without the customer's name and phone."""
    return {
        "id": str(values["id"]),
        "service": values["service_id"],
        "service_name": values["service_name"],
        "staff": values["staff_id"],
        "staff_name": values["staff_name"],
        "start": values["starts_at"].astimezone(business.zone).isoformat(),
        "end": values["ends_at"].astimezone(business.zone).isoformat(),
        "price": float(values["price"]),
        "currency": business.currency,
    }


def _booking_values(
    business: Business, service: Service, staff_id: str, request: BookingRequest, token: str, test_run: str | None
) -> dict[str, Any]:
    member = business.member(staff_id)
    assert member is not None
    return {
        "service_id": service.id,
        "service_name": service.name,
        "price": service.price,
        "staff_id": member.id,
        "staff_name": member.name,
        "starts_at": request.start.astimezone(UTC),
        "ends_at": request.start.astimezone(UTC) + timedelta(minutes=service.duration_minutes),
        "token_hash": secrets.digest(token),
        "test_run": test_run,
    }


def _replay(earlier: Row[Any], request_hashes: Sequence[bytes], key: str) -> Answer:
    if earlier.request_hash not in request_hashes:
        raise Problem(
            422, "idempotency_key_reused", "La Idempotency-Key ya se usó para otra solicitud; usá una clave nueva por cada turno."
        )
    body = dict(earlier.answer)
    if earlier.sealed_token is not None:
        body["token"] = secrets.unseal(earlier.sealed_token, key, str(earlier.booking_id))
    return Answer(earlier.status, body, replayed=True)
