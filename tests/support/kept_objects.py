"""An API server's storage on loopback for unit tests: objects are kept, versions counted, preconditions judged. Nothing controls anything.

Whether the real API server behaves like this is what the integration tests are for.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.fake_api import kubeconfig
from tests.support.loopback import Reply, Request, web

# /api/v1 or /apis/GROUP/VERSION, the namespace where there is one, the kind, the name where one object is meant.
_PATH = re.compile(r"^/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/([^/]+)(?=/[^/]+))?/([^/]+)(?:/([^/]+))?$")
_IN = re.compile(r"([^ ,]+) in \(([^)]*)\)")


def _status(code: int, reason: str, message: str) -> Reply:
    return Reply(code, {"kind": "Status", "reason": reason, "message": message, "code": code})


@dataclass
class Kept:
    """The storage: objects by path; ``before`` is called with each request and may change them, as somebody else does."""

    kubeconfig: str = ""
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    before: Callable[[Request], None] = lambda _request: None
    log: list[Request] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def put(self, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        """Keep an object as somebody else would write it; what is there is replaced."""
        number = str(next(self._numbers))
        uid = (self.objects.get(path) or {}).get("metadata", {}).get("uid") or f"uid-{number}"
        self.objects[path] = {**obj, "metadata": {**obj["metadata"], "uid": uid, "resourceVersion": number}}
        return self.objects[path]

    def writes(self) -> list[str]:
        """Return what was written, one "METHOD path" a request."""
        return [f"{item.method} {urlsplit(item.path).path}" for item in self.log if item.method != "GET" and "dryRun=All" not in item.path]

    def answer(self, request: Request) -> Reply:
        """Answer as an API server does."""
        self.before(request)
        parts = urlsplit(request.path)
        path, query = unquote(parts.path), {key: values[0] for key, values in parse_qs(parts.query).items()}
        found = _PATH.match(path)
        if found is None:
            return Reply(404, {"kind": "Status", "reason": "NotFound", "message": "the server could not find the requested resource"})
        if request.method == "POST":
            path = f"{path}/{request.body['metadata']['name']}"
            if path in self.objects:
                return _status(409, "AlreadyExists", f'{found[2]} "{request.body["metadata"]["name"]}" already exists')
            return Reply(201, request.body if "dryRun" in query else self.put(path, request.body))
        if request.method == "GET" and found[3] is None:
            items = [obj for place, obj in sorted(self.objects.items()) if re.match(rf"{re.escape(path)}/[^/]+$", place) and _selected(obj, query)]
            return Reply(200, {"metadata": {}, "items": items})
        if request.method == "PATCH":
            live = self.objects.get(path)
            merged = {**(live or {}), **request.body}
            return Reply(201 if live is None else 200, merged if "dryRun" in query else self.put(path, merged))
        if path not in self.objects:
            return _status(404, "NotFound", f'{found[2]} "{found[3]}" not found')
        return self._judged(request, path, found[2], found[3])

    def _judged(self, request: Request, path: str, kind: str, name: str) -> Reply:
        """Answer what is asked of one object that is there."""
        live = self.objects[path]
        if request.method == "PUT":
            if request.body["metadata"].get("resourceVersion") != live["metadata"]["resourceVersion"]:
                return _status(409, "Conflict", f'Operation cannot be fulfilled on {kind} "{name}": the object has been modified')
            return Reply(200, self.put(path, request.body))
        if request.method == "DELETE":
            for key, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
                wanted = ((request.body or {}).get("preconditions") or {}).get(key)
                if wanted not in (None, live["metadata"][key]):
                    return _status(409, "Conflict", f"Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {live['metadata'][key]}")
            return Reply(200, self.objects.pop(path))
        return Reply(200, live)


def _selected(obj: dict[str, Any], query: dict[str, str]) -> bool:
    labels, asked = obj["metadata"].get("labels") or {}, query.get("labelSelector") or ""
    among = all(labels.get(key) in values.split(",") for key, values in _IN.findall(asked))
    pairs = [part.partition("=") for part in _IN.sub("", asked).split(",") if part]
    kind = (query.get("fieldSelector") or "").partition("type=")[2]
    return among and all(key in labels and (not sep or labels[key] == value) for key, sep, value in pairs) and kind in ("", obj.get("type"))


@contextmanager
def kept_objects(folder: Path) -> Iterator[Kept]:
    """Serve a storage, with a kubeconfig in ``folder``."""
    found = Kept()
    with web(found.answer) as server:
        found.kubeconfig, found.log = kubeconfig(folder, f"http://{server.address}", token="t0ken"), server.log
        yield found
