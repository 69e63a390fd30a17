# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small concurrent client of the Kubernetes API.

One urllib3 connection pool a client, safe for threads. Requests that can be repeated are: on 429 and 5xx (obeying Retry-After), when a
quota was too busy to count, and on broken connections, until a deadline. Objects are plain dicts as the API server sends them.
"""

from __future__ import annotations

import copy
import email.utils
import importlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError, Unreachable
from ansible_collections.barberpro.platform.plugins.module_utils._kubeconfig import Connection, load
from ansible_collections.barberpro.platform.plugins.module_utils._outcome import NODE_SECONDS
from ansible_collections.barberpro.platform.plugins.module_utils._response import Response

MANAGER = "barberpro.platform"
APPLY = "application/apply-patch+yaml"  # JSON is YAML
MERGE = "application/merge-patch+json"
# OpenSSL's names of what a server under load, or what stands before it, breaks off; any other refusal of TLS stays.
_BROKEN_HANDSHAKES = ("DECODE_ERROR", "INTERNAL_ERROR", "UNEXPECTED_EOF", "BAD_RECORD_MAC")
IDEMPOTENT = frozenset({"GET", "HEAD", "DELETE", "PUT"})
# How long a server that is away is waited for: one that restarts is back by then.
OUTAGE_SECONDS = 60.0

T = TypeVar("T")
R = TypeVar("R")


def url_path(*segments: str, query: Mapping[str, Any] | None = None) -> str:
    """Join path segments, each quoted, and a query; keys whose value is None are left out."""
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    given = {key: str(value) for key, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


class Pace:
    """At most so many requests a second, whatever the number of threads that send them; 0 is no limit."""

    def __init__(self, per_second: float = 0.0) -> None:
        self.interval = 1.0 / per_second if per_second > 0 else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may be sent."""
        if not self.interval:
            return
        with self._lock:
            now = time.monotonic()
            begin = max(self._next, now)
            self._next = begin + self.interval
        time.sleep(begin - now)


class Client:
    """Requests to one API server as one identity.

    At most ``concurrency`` requests are under way at any time (watches are not counted), and ``requests_per_second`` are sent (0: no limit).
    """

    def __init__(
        self,
        connection: Connection,
        *,
        request_timeout: float = 30.0,
        outage_timeout: float = OUTAGE_SECONDS,
        node_timeout: float = NODE_SECONDS,
        concurrency: int = 16,
        requests_per_second: float = 0.0,
    ) -> None:
        self.connection = connection
        self.request_timeout = request_timeout
        self.outage_timeout = outage_timeout
        # A cluster that adds nodes when pods wait for one needs minutes for it.
        self.node_timeout = node_timeout
        self.concurrency = concurrency
        self.pace = Pace(requests_per_second)
        self._slots = threading.BoundedSemaphore(concurrency)
        self.http = importlib.import_module("urllib3")
        options: dict[str, Any] = {"maxsize": concurrency + 8, "retries": False}
        if connection.tls is not None:
            options |= {"ssl_context": connection.tls, "server_hostname": connection.server_name}
        # All requests go to one server, so its pool need not be looked up for each.
        self.pool = self.http.connection_from_url(connection.server, **options)
        self._prefix = urlsplit(connection.server).path
        # Seconds that the server's clock is ahead of ours; ages of objects are measured on the server's.
        self.clock_offset = 0.0
        self._date = ""
        self._lock = threading.Lock()
        self.cache: dict[str, Any] = {}

    @classmethod
    def from_options(cls, options: Mapping[str, Any], **more: Any) -> Client:
        """Make a client of a module's options (see the doc fragment C(cluster)). Raises KubeconfigError."""
        outage, node = options.get("outage_timeout"), options.get("node_timeout")
        return cls(
            load(options.get("kubeconfig"), options.get("context")),
            request_timeout=float(options.get("request_timeout") or 30.0),
            outage_timeout=OUTAGE_SECONDS if outage is None else float(outage),
            node_timeout=NODE_SECONDS if node is None else float(node),
            **more,
        )

    def headers(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the headers every request carries, Authorization included when a token is used."""
        headers = {"Accept": "application/json", "User-Agent": MANAGER, **(extra or {})}
        token = self.connection.token()
        if token:
            headers["Authorization"] = token
        return headers

    def now(self) -> float:
        """Return the time of the API server in seconds since the epoch."""
        return time.time() + self.clock_offset

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stream: bool = False,
    ) -> Any:
        """Send one request once and return urllib3's response. Raises urllib3's errors."""
        self.pace.wait()
        with nullcontext() if stream else self._slots:
            response = self.pool.request(
                method,
                self._prefix + path,
                body=body,
                headers=self.headers(headers),
                timeout=self.http.Timeout(connect=min(10.0, self.request_timeout), read=timeout or self.request_timeout),
                preload_content=not stream,
                redirect=False,
            )
        self._set_clock(response.headers.get("Date") or "")
        return response

    def _set_clock(self, date: str) -> None:
        """Learn the server's time from an answer, once for each second of it."""
        if date == self._date:
            return
        self._date = date
        parsed = email.utils.parsedate_tz(date)
        if parsed:
            self.clock_offset = email.utils.mktime_tz(parsed) - time.time()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content_type: str = "application/json",
        repeatable: bool | None = None,
        target: str = "",
        verb: str = "",
        accept: str | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Send a request, repeat it while that is safe and useful, and return a successful answer.

        ``body`` is bytes or something for JSON; ``deadline`` (monotonic clock) bounds the repetition; ``repeatable`` says that doing
        it twice is harmless (default: by method, a server-side apply always is). Raises ApiError and Unreachable.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        headers = {} if data is None else {"Content-Type": content_type}
        if accept:
            headers["Accept"] = accept
        again = (method in IDEMPOTENT or content_type == APPLY) if repeatable is None else repeatable
        started, attempt = time.monotonic(), 0
        while True:
            limit = deadline or started + self.outage_timeout
            pause = min(8.0, 0.2 * 2**attempt) * random.uniform(0.7, 1.3)
            try:
                raw = self.send(method, path, body=data, headers=headers, timeout=timeout)
            except self.http.exceptions.HTTPError as error:
                sent = not isinstance(error, (self.http.exceptions.NewConnectionError, self.http.exceptions.ConnectTimeoutError))
                if self._hopeless(error) or (sent and not again) or time.monotonic() + pause > limit:
                    raise self._unreachable(error, target or path, sent) from error
            else:
                response = Response(raw.status, {key.lower(): value for key, value in raw.headers.items()}, raw.data)
                if response.status < 300:
                    return response
                error_ = ApiError(response.status, response.json(), verb=verb or method, target=target or path)
                pause = max(pause, response.retry_after)
                # 429 and 503 say that the request was not carried out; other 5xx leave that open.
                repeatable_now = error_.transient and (again or response.status in (429, 503))
                # Of a PUT it may be the quota itself that somebody else has changed.
                repeatable_now = repeatable_now or (error_.quota_was_busy and method in ("POST", "PATCH"))
                if time.monotonic() + pause > limit or not (repeatable_now or self.speaks_too_soon(response.status)):
                    raise error_
            attempt += 1
            time.sleep(pause)

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Like call(), returning the decoded body."""
        return self.call(method, path, **options).json()

    def _hopeless(self, error: Exception) -> bool:
        """Whether a broken connection will stay so: a certificate that does not verify, a host name that does not exist."""
        text = str(error)
        if isinstance(error, self.http.exceptions.SSLError):
            return not any(word in text for word in _BROKEN_HANDSHAKES)
        return "certificate verify failed" in text or "Name or service not known" in text

    def speaks_too_soon(self, status: int) -> bool:
        """Return whether a refusal comes from a server that has just started and does not know yet who may do what; it says so when asked."""
        return status in (401, 403) and self.is_away()

    def is_away(self) -> bool:
        """Return whether the server does not answer, or has just started and is not ready."""
        try:
            return self.send("GET", "/readyz").status in (401, 403, 500, 503)
        except self.http.exceptions.HTTPError:
            return True

    def _unreachable(self, error: Exception, target: str, unsure: bool) -> Unreachable:
        cause = getattr(error, "reason", None) or error
        text = str(cause).rsplit(": ", 1)[-1] if not isinstance(error, self.http.exceptions.SSLError) else str(cause)
        return Unreachable(
            f"API server {self.connection.server} (kubeconfig {self.connection.origin}) does not answer: {text.strip()}; "
            f"check that the cluster runs and that the address is right (while asking for {target})",
            unsure=unsure,
        )

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R | PlatformError]:
        """Call ``function`` for each item, at most ``concurrency`` at a time, and return the results in order.

        An item whose call raises PlatformError yields that error in place of a result, so that one failure hides no other.
        """

        def attempt(item: T) -> R | PlatformError:
            try:
                return function(item)
            except PlatformError as error:
                return error

        work = list(items)
        if len(work) < 2 or self.concurrency < 2:
            return [attempt(item) for item in work]
        with ThreadPoolExecutor(min(self.concurrency, len(work))) as executor:
            return list(executor.map(attempt, work))

    def one_by_one(self) -> Client:
        """Return this client with a map() that works in the calling thread: for work that is itself one of many side by side."""
        single = copy.copy(self)
        single.concurrency = 1
        return single

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what ``make`` returned the first time for this key (discovery, version and the like)."""
        with self._lock:
            if key not in self.cache:
                self.cache[key] = make()
            value: T = self.cache[key]
            return value

    def close(self) -> None:
        """Close all connections."""
        self.pool.close()
