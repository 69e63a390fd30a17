"""Is this process started, ready, leaving? What the probes are answered from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from barberpro_service.logs import describe, logger

LOG = logger(__name__)

# A check is a coroutine function that returns what it saw or raises; its name is in the probe's answer.
Check = Callable[[], Awaitable[str]]

CHECK_SECONDS = 3.0
# Probes come every few seconds from several places; one answer serves all of them for so long.
FRESH_SECONDS = 1.0


def once(check: Check) -> Check:
    """A check that is not asked again once it has passed."""
    passed: list[str] = []

    async def asked() -> str:
        if not passed:
            passed.append(await check())
        return passed[0]

    return asked


@dataclass
class CheckResult:
    """Outcome of one readiness check."""

    name: str
    passed: bool
    evidence: str


@dataclass
class Lifecycle:
    """State of one process; `checks` by name decide readiness."""

    checks: dict[str, Check] = field(default_factory=dict)
    draining: bool = False
    started: bool = False
    _results: list[CheckResult] = field(default_factory=list)
    _checked: float = -1e9
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def readiness(self) -> tuple[bool, list[CheckResult]]:
        """Run the checks side by side (answers younger than a second are reused); never ready while draining."""
        async with self._lock:
            if time.monotonic() - self._checked > FRESH_SECONDS:
                self._results = list(await asyncio.gather(*(self._run(name) for name in self.checks)))
                self._checked = time.monotonic()
        results = list(self._results)
        if self.draining:
            results.append(CheckResult("draining", False, "the process got SIGTERM and finishes its requests"))
        ready = all(result.passed for result in results)
        self.started = self.started or ready
        return ready, results

    async def _run(self, name: str) -> CheckResult:
        try:
            return CheckResult(name, True, await asyncio.wait_for(self.checks[name](), CHECK_SECONDS))
        except TimeoutError:
            return CheckResult(name, False, f"no answer within {CHECK_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001 - whatever a dependency raises means not ready, and the probe says why
            LOG.warning("readiness check failed", check=name, **describe(error))
            text = describe(error)
            return CheckResult(name, False, str(text.get("reason") or f"{text['error']} {text.get('sqlstate', '')}".strip()))
