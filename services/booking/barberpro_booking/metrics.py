"""The booking service's own metrics."""

from __future__ import annotations

from barberpro_service.metrics import Metrics


class BookingMetrics:
    """Counters beside the request metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self.created = metrics.counter(
            "barberpro_bookings_created", "Bookings made; test=true are those of deployment tests.", ("test",)
        )
        self.cancelled = metrics.counter("barberpro_bookings_cancelled", "Bookings cancelled by customers.")
        self.refused = metrics.counter("barberpro_bookings_refused", "Booking requests refused, by code.", ("code",))
        for test in ("true", "false"):
            self.created.labels(test)
        # A series that exists from the start lets alerts and rates see the first refusal.
        for code in ("slot_taken", "in_the_past", "outside_hours", "idempotency_key_reused"):
            self.refused.labels(code)
