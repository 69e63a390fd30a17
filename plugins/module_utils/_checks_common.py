# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all checks share: how one is declared, how one fails, and through what it sees the cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources


class CheckFailed(Exception):
    """A check did not pass.

    ``reason`` names the object, the value and why, in one sentence without a full stop; ``next_step`` says what to do; ``final`` means that
    waiting cannot heal it.
    """

    def __init__(self, reason: str, next_step: str = "", final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.next_step = next_step
        self.final = final


@dataclass(frozen=True)
class Param:
    """A parameter of a check: an entry of an argument spec with its documentation."""

    doc: str
    type: str = "str"
    required: bool = False
    default: Any = None
    elements: str | None = None
    choices: tuple[str, ...] | None = None

    def spec(self) -> dict[str, Any]:
        """Return the entry as Ansible's argument spec wants it."""
        entry: dict[str, Any] = {"type": self.type}
        if self.required:
            entry["required"] = True
        elif self.default is not None:
            entry["default"] = self.default
        if self.elements:
            entry["elements"] = self.elements
        if self.choices:
            entry["choices"] = list(self.choices)
        return entry


class Clients:
    """Through what checks see the cluster. The API client is made on first use, so that checks without one need no cluster."""

    def __init__(self, make: Callable[[], Client], kubeconfig: str | None = None, context: str | None = None) -> None:
        self._make = make
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._own = threading.local()
        self.kubeconfig = kubeconfig
        self.context = context

    @property
    def client(self) -> Client:
        """Return the API client, shared by all threads. Raises KubeconfigError."""
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def set_end(self, end: float) -> None:
        """Remember until when (monotonic seconds) the check of this thread may run."""
        self._own.end = end

    def leave_time(self, seconds: float) -> None:
        """Raise CheckFailed when fewer than ``seconds`` are left for the check of this thread.

        What a check has to tidy up, it must begin to before its deadline: beyond it nobody waits for it.
        """
        left = getattr(self._own, "end", float("inf")) - time.monotonic()
        if left < seconds:
            raise CheckFailed("it was not done before its deadline", "see whether what it talks to is slow, then deploy again", final=True)

    @property
    def resources(self) -> Resources:
        """Return the verbs on objects."""
        return Resources(self.client)


# A check: its parameters and the clients in, the evidence out; raises CheckFailed.
Run = Callable[[Mapping[str, Any], Clients], str]
# Derives the target that the reader sees from the parameters.
Subject = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Check:
    """A declared check."""

    name: str
    run: Run
    params: Mapping[str, Param]
    subject: Subject
    read_only: bool = True
    doc: str = ""

    def argument_spec(self) -> dict[str, Any]:
        """Return the argument spec of the check's own parameters."""
        return {name: param.spec() for name, param in self.params.items()}


@dataclass
class Registry:
    """Checks by name, filled by the decorators ``check`` and ``writing_check``."""

    checks: dict[str, Check] = field(default_factory=dict)

    def check(self, title: str, subject: Subject, /, **params: Param) -> Callable[[Run], Run]:
        """Register the decorated function as check ``title``, which only reads; its docstring becomes the documentation."""
        return self._register(title, subject, True, params)

    def writing_check(self, title: str, subject: Subject, /, **params: Param) -> Callable[[Run], Run]:
        """Register the decorated function as check ``title``, which writes, if only for a moment: it is skipped in check mode."""
        return self._register(title, subject, False, params)

    def _register(self, name: str, subject: Subject, read_only: bool, params: Mapping[str, Param]) -> Callable[[Run], Run]:
        def register(function: Run) -> Run:
            self.checks[name] = Check(name, function, params, subject, read_only, (function.__doc__ or "").strip())
            return function

        return register


REGISTRY = Registry()
check = REGISTRY.check
writing_check = REGISTRY.writing_check


def subject(template: str) -> Subject:
    """Return a function that fills ``template`` with the parameters of a check."""
    return template.format_map


def plural(number: int, noun: str) -> str:
    """Return ``1 replica``, ``2 replicas``, ``2 entries``."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and not noun.endswith(("ay", "ey", "oy")):
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}{'es' if noun.endswith(('s', 'ss', 'x', 'ch')) else 's'}"


def listed(names: list[str], most: int = 5) -> str:
    """Return the first ``most`` names and how many more there are."""
    head = ", ".join(names[:most])
    return f"{head} and {len(names) - most} more" if len(names) > most else head
