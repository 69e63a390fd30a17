# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What outlives a run: the kept revisions of a tenant and its record, both Secrets of the system namespace.

A revision is immutable, gzip-compressed JSON in chunks. The record is one mutable Secret that is only ever replaced with the
resourceVersion it was read with, so that two runs on one tenant cannot overwrite each other's knowledge.

A set is stored before anything of it is applied, so one that the record knows nothing of says what a run that was killed may have made.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._apply import Entry
from ansible_collections.barberpro.platform.plugins.module_utils._errors import ApiError, PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import (
    PREFIX,
    SYSTEM_NAMESPACE,
    TENANT_LABEL,
    Ref,
    Resources,
    digest,
    phase_of,
)

REVISION_TYPE = f"{PREFIX}/release.v1"
RECORD_TYPE = f"{PREFIX}/record.v1"
TOKEN = "@revision@"
CHUNK_BYTES = 900 * 1024
_HASH, _CHUNKS, _COUNT = f"{PREFIX}/content-hash", f"{PREFIX}/chunks", f"{PREFIX}/objects"


def content_hash(objects: Sequence[dict[str, Any]]) -> str:
    """Return a hash of a set with its revision tokens unreplaced; the order of the objects does not matter."""
    return digest(sorted((Ref.of(obj).key, digest(obj)) for obj in objects))


def numbered(objects: Sequence[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """Return the set with the revision token replaced by r<number>."""
    replaced: list[dict[str, Any]] = json.loads(json.dumps(list(objects)).replace(TOKEN, f"r{number}"))
    return replaced


def record_ref(tenant: str) -> Ref:
    """Return which Secret is a tenant's record."""
    return Ref("v1", "Secret", SYSTEM_NAMESPACE, f"release-{tenant}-record")


@dataclass
class Record:
    """What is known of a tenant.

    ``current`` is promoted, ``pending`` staged or on its way back, ``finished`` the newest whose run has ended well, ``proven`` all kept ones
    of which that is true, ``highest`` the highest number ever used; ``objects`` by Ref.key. ``written`` is ``highest`` as it is stored.
    """

    current: int | None = None
    pending: int | None = None
    finished: int | None = None
    highest: int = 0
    proven: set[int] = field(default_factory=set)
    objects: dict[str, Entry] = field(default_factory=dict)
    stored: dict[str, Any] | None = None
    written: int = 0

    def document(self) -> dict[str, Any]:
        """Return what is written."""
        numbers = {"current": self.current, "pending": self.pending, "finished": self.finished, "highest": self.highest}
        return {**numbers, "proven": sorted(self.proven), "objects": {key: asdict(entry) for key, entry in sorted(self.objects.items())}}


@dataclass(frozen=True)
class Kept:
    """One kept revision, without its objects."""

    number: int
    content_hash: str
    chunks: int
    objects: int
    created: str


class Store:
    """The revisions and the record of one tenant."""

    def __init__(self, resources: Resources, tenant: str, before_write: Callable[[], None] = lambda: None) -> None:
        """``before_write`` is called before each write, so that a run can record what it means to do."""
        self.resources = resources
        self.tenant = tenant
        self.before_write = before_write

    def _ref(self, suffix: str) -> Ref:
        return Ref("v1", "Secret", SYSTEM_NAMESPACE, f"release-{self.tenant}-{suffix}")

    def _secret(self, ref: Ref, kind: str, labels: dict[str, str], annotations: dict[str, str], data: dict[str, bytes]) -> dict[str, Any]:
        own = {"app.kubernetes.io/managed-by": PREFIX, TENANT_LABEL: self.tenant, **labels}
        metadata: dict[str, Any] = {"name": ref.name, "namespace": ref.namespace, "labels": own, "annotations": annotations}
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": encoded}

    def load(self) -> Record:
        """Return the tenant's record; an empty one when there is none. Raises PlatformError when it cannot be understood."""
        ref = record_ref(self.tenant)
        secret = self.resources.get(ref)
        if secret is None:
            return Record()
        try:
            document = json.loads(base64.b64decode(secret["data"]["record"]))
            entries = {key: Entry(**entry) for key, entry in document["objects"].items()}
            numbers = {name: document.get(name) for name in ("current", "pending", "finished")}
            highest = int(document["highest"])
            # Records of before there was the key: what is kept had ended well, or was pending.
            proven = set(document["proven"] if "proven" in document else self.kept().keys() - {numbers["pending"]})
            return Record(**numbers, proven=proven, highest=highest, objects=entries, stored=secret, written=highest)
        except (KeyError, TypeError, ValueError) as error:
            raise PlatformError(f"{ref}: the record of tenant {self.tenant} cannot be read ({error!r}); restore it from a backup") from error

    def opened(self) -> tuple[Record, dict[int, Kept]]:
        """Return the record with what a killed run may have made noted as intents, and the kept revisions."""
        record, kept = self.load(), self.kept()
        for number in sorted(number for number in kept if number > record.written):
            record.pending = record.highest = number
            for obj in numbered(self.read(number), number):
                ref = Ref.of(obj)
                record.objects.setdefault(ref.key, Entry(None, digest(obj), None, ref.api_version, phase_of(obj)))
        return record, kept

    def save(self, record: Record) -> bool:
        """Write the record when it differs from what is stored. Returns whether it was written.

        Raises PlatformError when another run has written it since it was loaded, or when the platform is not installed.
        """
        content = json.dumps(record.document(), sort_keys=True, separators=(",", ":")).encode()
        if record.stored is not None and base64.b64decode(record.stored["data"]["record"]) == content:
            return False
        if record.stored is None and not record.objects and record.highest == 0:
            return False
        self.before_write()
        ref = record_ref(self.tenant)
        secret = self._secret(ref, RECORD_TYPE, {}, {}, {"record": content})
        try:
            if record.stored is None:
                made = self.resources.create(secret, terse=True)
            else:
                secret["metadata"]["resourceVersion"] = record.stored["metadata"]["resourceVersion"]
                made = self.resources.replace(secret, terse=True)
            record.stored = {**secret, "metadata": made["metadata"]}
            record.written = record.highest
        except ApiError as error:
            raise self._explained(error, ref) from error
        return True

    def _explained(self, error: ApiError, ref: Ref) -> PlatformError:
        if error.status == 409:
            return PlatformError(f"{ref}: another run has changed tenant {self.tenant} in the meantime; wait for its end and run again")
        if error.not_found and "namespaces" in error.server_message:
            return PlatformError(f"namespace {SYSTEM_NAMESPACE} does not exist: the platform is not installed; run deploy_platform.yml")
        return error

    def forget(self) -> bool:
        """Delete the record. Returns whether there was one."""
        self.before_write()
        return self.resources.delete(record_ref(self.tenant))

    def kept(self) -> dict[int, Kept]:
        """Return the complete revisions by number. A set of which a killed run wrote only a part is left out."""
        selector = f"{TENANT_LABEL}={self.tenant},{PREFIX}/revision"
        found: dict[int, list[dict[str, Any]]] = {}
        for item in self.resources.list("v1", "Secret", SYSTEM_NAMESPACE, labels=selector, terse=True):
            found.setdefault(int(item["metadata"]["labels"][f"{PREFIX}/revision"][1:]), []).append(item["metadata"])
        result = {}
        for number, parts in sorted(found.items()):
            notes = parts[0].get("annotations") or {}
            if len(parts) == int(notes.get(_CHUNKS, 0)):
                created = str(parts[0].get("creationTimestamp") or "")
                result[number] = Kept(number, str(notes.get(_HASH)), len(parts), int(notes.get(_COUNT, 0)), created)
        return result

    def read(self, number: int) -> list[dict[str, Any]]:
        """Return the set of a revision as it was stored. Raises PlatformError that lists the kept ones when it is not kept."""
        kept = self.kept()
        if number not in kept:
            others = ", ".join(f"r{other}" for other in kept) or "none"
            raise PlatformError(f"revision r{number} of tenant {self.tenant} is not kept (kept: {others}); choose one of these")
        data = b""
        for chunk in range(kept[number].chunks):
            secret = self.resources.get(self._ref(f"r{number}-{chunk}"))
            data += base64.b64decode((secret or {"data": {"set": ""}})["data"]["set"])
        try:
            objects: list[dict[str, Any]] = json.loads(gzip.decompress(data))
        except (OSError, EOFError, ValueError) as error:
            raise PlatformError(f"revision r{number} of tenant {self.tenant} is damaged ({error}); choose another one") from error
        return objects

    def write(self, number: int, objects: Sequence[dict[str, Any]], content: str = "") -> Kept:
        """Store a set under a number, ``content`` being its hash where that is known. Leftovers of a killed run under that number are replaced."""
        self.drop(number)
        content = content or content_hash(objects)
        data = gzip.compress(json.dumps(list(objects), sort_keys=True, separators=(",", ":")).encode(), mtime=0)
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        notes = {_HASH: content, _CHUNKS: str(len(chunks)), _COUNT: str(len(objects))}
        for index, chunk in enumerate(chunks):
            ref = self._ref(f"r{number}-{index}")
            secret = {**self._secret(ref, REVISION_TYPE, {f"{PREFIX}/revision": f"r{number}"}, notes, {"set": chunk}), "immutable": True}
            try:
                created = self.resources.create(secret, terse=True)["metadata"].get("creationTimestamp")
            except ApiError as error:
                raise self._explained(error, ref) from error
        return Kept(number, content, len(chunks), len(objects), str(created or ""))

    def drop(self, number: int) -> None:
        """Delete what is stored of a revision."""
        self.before_write()
        selector = f"{TENANT_LABEL}={self.tenant},{PREFIX}/revision=r{number}"
        for secret in self.resources.list("v1", "Secret", SYSTEM_NAMESPACE, labels=selector, terse=True):
            self.resources.delete(Ref.of(secret))
