"""Prometheus metrics that every service has."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from barberpro_service import __version__

# Seconds; a booking takes ~10 ms, an alert wants to see 250 ms and 1 s.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


# A second series for each, of creation times, which nothing here reads.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The registry of one service, with the request metrics; services add their own to `registry`."""

    def __init__(self, service: str, tenant: str, revision: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Gauge(
            "barberpro_build_info",
            "Always 1; the labels say what runs.",
            ["service", "tenant", "revision", "version"],
            registry=self.registry,
        ).labels(service, tenant, revision, __version__).set(1)
        self.requests = Histogram(
            "barberpro_http_request_duration_seconds",
            "Seconds from a request's first byte to its answer's last, by route template and status.",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "barberpro_http_requests_in_flight", "Requests that are being answered.", registry=self.registry
        )
        self.draining = Gauge(
            "barberpro_draining", "1 while the process is leaving and only finishes what it has.", registry=self.registry
        )
        self.housekeeping_failures = self.counter("barberpro_housekeeping_failures", "Turns of the housekeeping that failed.")
        self.housekeeping_succeeded = Gauge(
            "barberpro_housekeeping_last_success_timestamp_seconds",
            "When a turn of the housekeeping last succeeded; the start of the process before the first.",
            registry=self.registry,
        )
        self.housekeeping_succeeded.set_to_current_time()

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        """A counter of the service's own."""
        return Counter(name, text, labels, registry=self.registry)
