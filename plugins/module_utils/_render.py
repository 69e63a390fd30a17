# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The renderer: folders of templates and one tenant's context in, Kubernetes objects out.

A template folder holds one folder a phase (``infrastructure``, ``workloads``, ``promotion``, ``monitoring``), each with ``*.yml.j2`` files
of one or more YAML documents. The same code serves one tenant and a thousand: templates are compiled once and compiled again only when
their file changes.
"""

from __future__ import annotations

import os
import posixpath
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

try:
    import jinja2
    import yaml

    IMPORT_ERROR: Exception | None = None
except ImportError as error:  # pragma: no cover - ansible-core itself needs both
    IMPORT_ERROR = error

from ansible_collections.barberpro.platform.plugins.module_utils import _render_filters
from ansible_collections.barberpro.platform.plugins.module_utils._plain import to_plain
from ansible_collections.barberpro.platform.plugins.module_utils._render_yaml import documents_of

PHASES = ("infrastructure", "workloads", "promotion", "monitoring")
PREFIX = "barberpro.platform"
SUFFIX = ".yml.j2"

# Kinds without a namespace. The renderer works without a cluster, so it cannot ask discovery.
CLUSTER_SCOPED = frozenset(
    {
        "APIService",
        "CSIDriver",
        "ClusterIssuer",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "FlowSchema",
        "GatewayClass",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "RuntimeClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttributesClass",
        "VolumeSnapshotClass",
    }
)


class RenderError(Exception):
    """A template, a context or a rendered object is wrong; the text is the sentence for the user."""


_LOCK = threading.Lock()
_ENVIRONMENT: jinja2.Environment | None = None


def environment() -> jinja2.Environment:
    """Return the process's one Jinja2 environment; its cache holds every compiled template by path and modification time.

    Names are absolute paths; ``{% include %}`` and ``{% import %}`` are relative to the template that holds them.
    """
    global _ENVIRONMENT
    if _ENVIRONMENT is not None:
        return _ENVIRONMENT

    class Environment(jinja2.Environment):  # here, because the file must load without Jinja2 to say that it is missing
        """An environment whose includes are relative."""

        def join_path(self, template: str, parent: str) -> str:
            """Return the absolute name of ``template`` as seen from ``parent``."""
            return posixpath.normpath(posixpath.join(posixpath.dirname(parent), template))

    with _LOCK:
        if _ENVIRONMENT is None:
            created = Environment(
                loader=jinja2.FileSystemLoader("/"),
                undefined=jinja2.StrictUndefined,
                trim_blocks=True,
                lstrip_blocks=True,
                keep_trailing_newline=True,
                autoescape=False,
                cache_size=-1,
                bytecode_cache=_bytecode_cache(),
                auto_reload=True,
                extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
            )
            created.filters.update(_render_filters.FILTERS)
            _ENVIRONMENT = created
        return _ENVIRONMENT


def _bytecode_cache() -> jinja2.BytecodeCache | None:
    """Return where compiled templates are kept for the next task and run (each tenant of a fleet is rendered by a process of its own), if they can be.

    It is a folder of the user's own below the one for temporary files. What was compiled by another version of this code is not used.
    """

    class Cache(jinja2.FileSystemBytecodeCache):
        def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
            with suppress(OSError):  # a full disk is no reason not to render
                super().dump_bytecode(bucket)

    version = max(os.stat(path).st_mtime_ns for path in (__file__, _render_filters.__file__))
    with suppress(OSError, RuntimeError):  # no such folder, or somebody else's
        return Cache(pattern=f"{PREFIX}-{version:x}-%s.cache")
    return None


def template_files(directories: Iterable[str], phases: Sequence[str] = PHASES) -> list[tuple[str, str]]:
    """Return ``(phase, path)`` of every template: by phase, then in the order of the folders, then by file name.

    Raises RenderError for a folder that does not exist and for a set of folders without any template.
    """
    roots = [os.path.abspath(directory) for directory in directories]
    for root in roots:
        if not os.path.isdir(root):
            raise RenderError(f"template folder {root} does not exist; name the templates folder of a role")
    found = []
    for phase in phases:
        for root in roots:
            folder = os.path.join(root, phase)
            if os.path.isdir(folder):
                found += [(phase, os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(SUFFIX)]
    if not found:
        raise RenderError(f"no *{SUFFIX} below {', '.join(roots) or 'no folder'} in the folders {', '.join(phases)}")
    return found


def render(template_dirs: Sequence[str] | str, context: Mapping[str, Any], phases: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Render all templates of ``template_dirs`` with ``context`` into a list of objects.

    ``context`` must hold ``tenant`` with ``name`` and ``namespace``; ``phases`` limits the phases. Every object comes back with its phase
    annotation, the common labels and, where its kind has one, a namespace. Raises RenderError.
    """
    if IMPORT_ERROR is not None:  # pragma: no cover - ansible-core itself needs both
        raise RenderError(f"Jinja2 and PyYAML are needed: {IMPORT_ERROR}")
    directories = [template_dirs] if isinstance(template_dirs, str) else list(template_dirs)
    variables = to_plain(context)
    tenant = variables.get("tenant")
    if not isinstance(tenant, dict) or not tenant.get("name") or not tenant.get("namespace"):
        raise RenderError("the context must hold tenant.name and tenant.namespace")
    wanted = tuple(phases or PHASES)
    unknown = [phase for phase in wanted if phase not in PHASES]
    if unknown:
        raise RenderError(f"unknown phase {unknown[0]}; the phases are {', '.join(PHASES)}")
    objects: list[dict[str, Any]] = []
    origin: dict[tuple[str, str, str, str], str] = {}
    for phase, path in template_files([to_plain(directory) for directory in directories], wanted):
        for item in _render_file(path, variables):
            _complete(item, phase, tenant, path)
            key = _key(item)
            if key in origin:
                twice = f"{describe(item)} is rendered twice, by {origin[key]} and by {path}"
                raise RenderError(f"tenant {tenant['name']}: {twice}; remove one")
            origin[key] = path
            objects.append(item)
    return objects


def describe(item: Mapping[str, Any]) -> str:
    """Return ``Kind namespace/name`` (``Kind name`` without namespace) of an object."""
    metadata = item["metadata"]
    namespace = metadata.get("namespace")
    return f"{item['kind']} {namespace}/{metadata['name']}" if namespace else f"{item['kind']} {metadata['name']}"


def _render_file(path: str, variables: dict[str, Any]) -> list[dict[str, Any]]:
    """Render one template; every failure becomes a sentence with the template, the line and the tenant."""
    where = f"tenant {variables['tenant']['name']}: template {path}"
    try:
        text = environment().get_template(path).render(variables)
    except jinja2.TemplateNotFound as error:
        raise RenderError(f"{where}: {error.name or path} cannot be read; check the name in include or import") from error
    except jinja2.TemplateSyntaxError as error:
        raise RenderError(f"{where}: line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        hint = "define it in the inventory or give it a default"
        raise RenderError(f"{where}: line {_line(error, path)}: {_undefined(error)}; {hint}") from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, jinja2.TemplateError) as error:
        raise RenderError(f"{where}: line {_line(error, path)}: {type(error).__name__}: {error}") from error
    try:
        documents = documents_of(text)
    except yaml.YAMLError as error:
        raise RenderError(f"{where}: what it renders is not YAML: {' '.join(str(error).split())}") from error
    for document in documents:
        problem = _shape(document)
        if problem:
            raise RenderError(f"{where}: {problem}")
    return documents


def _undefined(error: jinja2.UndefinedError) -> str:
    """Return Jinja's message with the variable named first."""
    message = str(error)
    if " has no attribute " in message:
        name = message.rsplit(" has no attribute ", 1)[1]
        return f"variable {name} is undefined in the value it is read from"
    return f"variable {message}"


def _line(error: BaseException, path: str) -> str:
    """Return the line of the template, or of the file it includes, where ``error`` was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith((".j2", ".jinja"))]
    if not frames:
        return "unknown"
    last = frames[-1]
    number = str(last.lineno) if last.filename == path else f"{last.lineno} of {last.filename}"
    return f"{number} ({last.line.strip()})" if last.line else number


def _shape(document: Any) -> str:
    """Return what is wrong with a rendered document, or nothing."""
    if not isinstance(document, dict):
        return f"a document is a {type(document).__name__}, not an object with apiVersion, kind and metadata"
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str) or not document[key]:
            return f"an object has no {key}"
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        return f"a {document['kind']} has no metadata.name that is text"
    for field in ("labels", "annotations"):
        for name, value in (metadata.get(field) or {}).items():
            if not isinstance(value, str):
                return f"{document['kind']} {metadata['name']}: metadata.{field}.{name} is {value!r}, which is not text; quote it"
    return ""


def _complete(item: dict[str, Any], phase: str, tenant: dict[str, Any], path: str) -> None:
    """Set what every object of a release carries: phase, common labels, namespace."""
    metadata = item["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), f"{PREFIX}/phase": phase}
    labels = {"app.kubernetes.io/managed-by": PREFIX, f"{PREFIX}/tenant": tenant["name"]}
    labels.update({f"{PREFIX}/{key}": str(tenant[key]) for key in ("vertical", "tier") if tenant.get(key)})
    given = metadata.get("labels") or {}
    owner = given.get(f"{PREFIX}/tenant", tenant["name"])
    if owner != tenant["name"]:
        raise RenderError(f"tenant {tenant['name']}: template {path}: {describe(item)} carries the label of tenant {owner}")
    metadata["labels"] = {**given, **labels}
    if item["kind"] in CLUSTER_SCOPED:
        metadata.pop("namespace", None)
    else:
        metadata.setdefault("namespace", tenant["namespace"])


def _key(item: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return what identifies an object on the server: group, kind, namespace, name."""
    group = item["apiVersion"].rpartition("/")[0]
    return group, item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]
