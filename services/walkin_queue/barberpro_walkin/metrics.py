"""The queue's own metrics."""

from __future__ import annotations

from barberpro_service.metrics import Metrics


class WalkinMetrics:
    """Counters beside the request metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self.tickets = metrics.counter("barberpro_walkin_tickets", "Tickets given; test=true are those of deployment tests.", ("test",))
        self.actions = metrics.counter("barberpro_walkin_actions", "Changes of tickets, by action.", ("action",))
        self.refused = metrics.counter("barberpro_walkin_refused", "Ticket requests refused, by code.", ("code",))
        self.booking_failures = metrics.counter("barberpro_walkin_booking_failures", "Requests to the booking service that failed.")
        for test in ("true", "false"):
            self.tickets.labels(test)
        for action in ("call", "serve", "finish", "leave"):
            self.actions.labels(action)
