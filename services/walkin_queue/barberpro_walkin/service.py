"""What the walk-in queue does, apart from HTTP."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from barberpro_service import usage
from barberpro_service.errors import KeysUnavailable, Problem, SealError
from barberpro_service.hours import Period
from barberpro_service.logs import logger
from barberpro_service.personal.fields import Personal
from barberpro_walkin import estimate, repository
from barberpro_walkin.schemas import TicketRequest
from barberpro_walkin.tables import PERSONAL, TICKETS
from barberpro_walkin.upstream import DEFAULT_MINUTES, DEFAULT_ZONE, BookingClient, Service, Upstream

if TYPE_CHECKING:
    from barberpro_service.encryption import DataKeys

LOG = logger(__name__)

TEST_LIFETIME = timedelta(hours=1)
# People queue at the door a little before it opens.
EARLY = timedelta(minutes=60)
EXCLUDES = "La espera estimada no incluye los turnos reservados: el sistema de reservas no responde."

# action: (states it may be taken from, state it leads to, column that keeps the time)
ACTIONS = {
    "call": (("waiting",), "called", "called_at"),
    "serve": (("waiting", "called"), "serving", "served_at"),
    "finish": (("called", "serving"), "finished", "ended_at"),
    "leave": (("waiting", "called"), "left", "ended_at"),
}
STATES = {"waiting": "en espera", "called": "llamado", "serving": "en el sillón", "finished": "terminado", "left": "retirado"}


@dataclass(frozen=True)
class Queue:
    """The queue at one moment; `starts` has the estimated start of each waiting ticket by id."""

    day: date
    now: datetime
    upstream: Upstream
    tickets: Sequence[Row[Any]]
    starts: dict[uuid.UUID, datetime | None]

    @property
    def open(self) -> bool | None:
        """Is the shop open? None when the hours are not known."""
        if self.upstream.business is None:
            return None
        return any(opens <= self.now < closes for opens, closes in self.upstream.business.periods(self.day))

    @property
    def zone(self) -> ZoneInfo:
        """The business's time zone, or the country's while it is not known."""
        return self.upstream.business.zone if self.upstream.business else ZoneInfo(DEFAULT_ZONE)

    @property
    def degraded(self) -> dict[str, Any]:
        """What every answer says about the estimate's basis."""
        excludes = self.upstream.busy is None
        return {"estimate_excludes_bookings": excludes, "note": EXCLUDES if excludes else None}

    def describe(self, ticket: Row[Any]) -> dict[str, Any]:
        """A ticket as everybody may see it."""
        waiting = [item.id for item in self.tickets if item.status == "waiting"]
        start = self.starts.get(ticket.id)
        return {
            "number": ticket.number,
            "status": ticket.status,
            "service": ticket.service_id,
            "service_name": ticket.service_name,
            "position": waiting.index(ticket.id) + 1 if ticket.id in waiting else None,
            "estimated_wait_minutes": None if start is None else max(0, round((start - self.now).total_seconds() / 60)),
            "estimated_start": None if start is None else start.astimezone(self.zone).isoformat(timespec="minutes"),
        }


class Walkin:
    """The queue's operations on one engine; `clock` returns now, aware. Without `keys` names are stored as they come."""

    def __init__(
        self, engine: AsyncEngine, booking: BookingClient, clock: Callable[[], datetime] = lambda: datetime.now(UTC), keys: DataKeys | None = None
    ) -> None:
        self.engine = engine
        self.booking = booking
        self.clock = clock
        self.customers = Personal(engine, keys, TICKETS, PERSONAL)

    async def queue(self) -> Queue:
        """The queue now, with the estimates."""
        now = self.clock()
        upstream = await self.booking.now(now)
        zone = upstream.business.zone if upstream.business else ZoneInfo(DEFAULT_ZONE)
        day = now.astimezone(zone).date()
        async with self.engine.connect() as connection:
            tickets = await repository.active(connection, day)
        starts = _starts(now, day, upstream, tickets)
        waiting = [ticket.id for ticket in tickets if ticket.status == "waiting"]
        return Queue(day, now, upstream, tickets, dict(zip(waiting, starts, strict=True)))

    async def described(self, queue: Queue, staff: bool) -> list[dict[str, Any]]:
        """The tickets of a queue as everybody may see them, for the staff with ids and names."""
        if not staff:
            return [queue.describe(ticket) for ticket in queue.tickets]
        return [{"id": str(ticket.id), "name": await self._name(ticket), **queue.describe(ticket)} for ticket in queue.tickets]

    async def _name(self, ticket: Row[Any]) -> str | None:
        """Who has a ticket; None where nobody can tell now: the number is enough to be called by."""
        try:
            return (await self.customers.opened(ticket))["customer_name"]
        except (KeysUnavailable, SealError) as error:
            LOG.warning("a name cannot be read", ticket=str(ticket.id), reason=str(error))
            return None

    async def take(self, request: TicketRequest, key: str | None, test_run: str | None) -> tuple[dict[str, Any], bool]:
        """Give a ticket, or the one that the key got before; returns it and whether it is new.

        Raises Problem 422: unknown service, shop closed (not for test runs, which come at any hour), key reused.
        """
        ticket_id = uuid.uuid4()
        key_hash = hashlib.sha256(key.encode()).digest() if key else None
        # Before the transaction: no connection waits for Vault. Without a key nothing is compared with a fingerprint.
        fingerprint = hashlib.sha256(json.dumps([request.model_dump(), test_run], sort_keys=True).encode()).digest()
        request_hashes = await self.customers.digests(fingerprint) if key else (None,)
        customer = await self.customers.columns(ticket_id, customer_name=request.name)
        queue = await self.queue()
        # After the queue was read and before anything is refused: the ticket that takes the last place may be the one of this key.
        if key_hash and (earlier := await self._earlier(key_hash, request_hashes)):
            return earlier, False
        service = _service(queue.upstream, request.service)
        if test_run is None:
            _admit(queue, service)
        async with self.engine.begin() as connection:
            values = {
                "id": ticket_id,
                "day": queue.day,
                # Taking the number also puts requests with the same key one after the other.
                "number": await repository.next_number(connection, queue.day),
                "service_id": service.id,
                "service_name": service.name,
                "duration_minutes": service.duration_minutes,
                **customer,
                "test_run": test_run,
                "key_hash": key_hash,
                "request_hash": request_hashes[0],
            }
            created = await repository.insert_ticket(connection, values)
            if not created:
                await connection.rollback()
        if created:
            return await self.find(ticket_id), True
        earlier = await self._earlier(key_hash, request_hashes)
        if earlier is None:
            raise _key_reused()
        return earlier, False

    async def _earlier(self, key_hash: bytes | None, request_hashes: Sequence[bytes | None]) -> dict[str, Any] | None:
        """The ticket that a key got before, if any. Raises Problem 422 when that was for another request."""
        async with self.engine.connect() as connection:
            ticket = await repository.by_key(connection, key_hash or b"")
        if ticket is None:
            return None
        if ticket.request_hash not in request_hashes:
            raise _key_reused()
        return await self.find(ticket.id)

    async def find(self, ticket_id: uuid.UUID) -> dict[str, Any]:
        """One ticket with its estimate; its id is what only the customer has. Raises Problem 404."""
        async with self.engine.connect() as connection:
            ticket = await repository.read(connection, ticket_id)
        if ticket is None:
            raise _not_found()
        queue = await self.queue()
        return {"id": str(ticket.id), **queue.describe(ticket), **queue.degraded}

    async def act(self, ticket_id: uuid.UUID, action: str) -> tuple[dict[str, Any], bool]:
        """Take an action of ACTIONS on a ticket; again is no error. Returns the ticket and whether it changed.

        Raises Problem 404, and 409 when the ticket's state does not allow it.
        """
        sources, target, column = ACTIONS[action]
        async with self.engine.begin() as connection:
            ticket = await repository.read(connection, ticket_id, lock=True)
            if ticket is None:
                raise _not_found()
            changed = ticket.status != target
            if changed and ticket.status not in sources:
                allowed = " o ".join(STATES[state] for state in sources)
                raise Problem(409, "wrong_state", f"El número {ticket.number} está {STATES[ticket.status]}; para esto tiene que estar {allowed}.")
            if changed:
                # Nobody needs the name once the customer has gone, nor what it could be guessed from.
                gone = repository.NOBODY if target in ("finished", "left") else {}
                await repository.change(connection, ticket_id, status=target, **{column: self.clock()}, **gone)
        return await self.find(ticket_id), changed

    async def tidy(self) -> None:
        """Delete left-over test tickets, forget who has gone or came on past days, seal what an older revision has written plain, count the tickets taken."""
        now = self.clock()
        async with self.engine.begin() as connection:
            tests, names = await repository.purge_stale(connection, now - TEST_LIFETIME, (now - timedelta(days=1)).date())
            await usage.record(connection, "walk_ins", await repository.drawn_by_day(connection, (now - usage.LOOK_BACK).date()))
        if tests or names:
            LOG.info("tidied", test_tickets=tests, names_forgotten=names)
        if sealed := await self.customers.seal_plain():
            LOG.info("customers sealed", tickets=sealed)


def _not_found() -> Problem:
    return Problem(404, "ticket_not_found", "No encontramos ese número; sacá uno nuevo.")


def _key_reused() -> Problem:
    return Problem(422, "idempotency_key_reused", "La Idempotency-Key ya se usó para otra solicitud; usá una clave nueva por cada número.")


def _service(upstream: Upstream, service_id: str) -> Service:
    """The wished service; while booking was never reached, any, of a usual length."""
    if upstream.business is None:
        return Service(id=service_id, name=service_id, duration_minutes=DEFAULT_MINUTES)
    service = next((item for item in upstream.business.services if item.id == service_id), None)
    if service is None:
        known = ", ".join(item.id for item in upstream.business.services)
        raise Problem(422, "unknown_service", f"El servicio {service_id!r} no existe; los servicios son: {known}.")
    return service


def _admit(queue: Queue, service: Service) -> None:
    """Refuse a ticket that nobody will call: the shop is closed, or today's remaining time is taken."""
    business = queue.upstream.business
    if business is None:
        return
    periods = [period for period in business.periods(queue.day) if queue.now < period[1]]
    if not periods or queue.now < periods[0][0] - EARLY:
        detail = f"Abrimos hoy a las {periods[0][0].astimezone(queue.zone):%H:%M}." if periods else "Hoy ya no atendemos por orden de llegada."
        raise Problem(422, "closed", f"El local está cerrado. {detail}")
    lengths = [timedelta(minutes=item.duration_minutes) for item in queue.tickets if item.status == "waiting"]
    lengths.append(timedelta(minutes=service.duration_minutes))
    occupied = _occupied(queue.now, queue.upstream, queue.tickets)
    if estimate.waits(queue.now, business.places, occupied, lengths, periods)[-1] is None:
        raise Problem(422, "no_time_left", f"Hoy ya no queda tiempo para {service.name}: está todo ocupado hasta el cierre.")


def _occupied(now: datetime, upstream: Upstream, tickets: Sequence[Row[Any]]) -> list[Period]:
    seated = [ticket for ticket in tickets if ticket.status in ("called", "serving")]
    return list(upstream.busy or []) + [
        estimate.occupies(ticket.served_at or now, timedelta(minutes=ticket.duration_minutes), now) for ticket in seated
    ]


def _starts(now: datetime, day: date, upstream: Upstream, tickets: Sequence[Row[Any]]) -> list[datetime | None]:
    lengths = [timedelta(minutes=ticket.duration_minutes) for ticket in tickets if ticket.status == "waiting"]
    business = upstream.business
    places, periods = (business.places, business.periods(day)) if business else (1, None)
    return estimate.waits(now, places, _occupied(now, upstream, tickets), lengths, periods)
