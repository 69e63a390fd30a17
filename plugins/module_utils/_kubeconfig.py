# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a kubeconfig into what a connection needs.

A file with client certificates or a token (the usual case on a runner) is read directly: importing the ``kubernetes`` package takes a
second. Everything else (exec plugins, auth providers, several files) goes through that package's own loader.
"""

from __future__ import annotations

import base64
import importlib
import os
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._errors import KubeconfigError

NEXT_STEP = "give kubeconfig (or the environment variable KUBECONFIG) the path of a valid file"


@dataclass(frozen=True)
class Connection:
    """Where the API server is and who we are.

    ``token`` is called for each request and returns the value of the Authorization header, or None.
    """

    server: str
    tls: ssl.SSLContext | None
    token: Callable[[], str | None]
    server_name: str | None = None
    origin: str = ""
    namespace: str = "default"


def load(path: str | None, context: str | None = None) -> Connection:
    """Read the kubeconfig ``path`` (or $KUBECONFIG, or ~/.kube/config).

    Raises KubeconfigError with one sentence when it cannot be used.
    """
    chosen = path or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if os.pathsep in chosen:
        return _load_by_package(chosen, context)
    file = Path(chosen).expanduser()
    document = _read(file)
    entry = _named(document, "contexts", context or str(document.get("current-context") or ""), file).get("context") or {}
    cluster = _named(document, "clusters", str(entry.get("cluster") or ""), file).get("cluster") or {}
    user = _named(document, "users", str(entry.get("user") or ""), file).get("user") or {}
    if {"exec", "auth-provider", "username", "password"} & set(user) or "proxy-url" in cluster:
        return _load_by_package(str(file), context)
    server = str(cluster.get("server") or "")
    if not server.startswith(("https://", "http://")):
        raise KubeconfigError(f"kubeconfig {file}: server {server!r} is not a URL; {NEXT_STEP}")
    base = file.parent
    try:
        tls = _tls(cluster, user, base) if server.startswith("https://") else None
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError, binascii.Error a ValueError
        raise KubeconfigError(f"kubeconfig {file}: its certificates cannot be used: {error}; {NEXT_STEP}") from error
    return Connection(
        server=server.rstrip("/"),
        tls=tls,
        token=_token(user, base),
        server_name=cluster.get("tls-server-name"),
        origin=str(file),
        namespace=str(entry.get("namespace") or "default"),
    )


def _read(file: Path) -> dict[str, Any]:
    yaml = importlib.import_module("yaml")
    try:
        # The C loader takes a tenth of the time, which every task pays.
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        raise KubeconfigError(f"kubeconfig {file} does not exist; {NEXT_STEP}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"kubeconfig {file} cannot be read: {error}; {NEXT_STEP}") from error
    except yaml.YAMLError as error:
        raise KubeconfigError(f"kubeconfig {file} is not valid YAML: {str(error).splitlines()[0]}; {NEXT_STEP}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(f"kubeconfig {file} is empty or no mapping; {NEXT_STEP}")
    return document


def _named(document: dict[str, Any], section: str, name: str, file: Path) -> dict[str, Any]:
    for item in document.get(section) or []:
        if isinstance(item, dict) and item.get("name") == name:
            return item
    known = ", ".join(str(item.get("name")) for item in document.get(section) or [] if isinstance(item, dict)) or "none"
    raise KubeconfigError(f"kubeconfig {file}: {section[:-1]} {name!r} does not exist (there is: {known}); {NEXT_STEP}")


def _material(settings: dict[str, Any], key: str, base: Path) -> bytes | None:
    if settings.get(f"{key}-data"):
        return base64.b64decode(settings[f"{key}-data"])
    if settings.get(key):
        return (base / str(settings[key])).expanduser().read_bytes()
    return None


def _tls(cluster: dict[str, Any], user: dict[str, Any], base: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", base)
    tls = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", base), _material(user, "client-key", base)
    if certificate:
        # The ssl module reads a key from a file only; the file is readable by us alone and gone before we return.
        with tempfile.NamedTemporaryFile(suffix=".pem") as combined:
            combined.write(certificate + b"\n" + (key or b""))
            combined.flush()
            tls.load_cert_chain(combined.name)
    return tls


def _token(user: dict[str, Any], base: Path) -> Callable[[], str | None]:
    if user.get("tokenFile"):
        path = (base / str(user["tokenFile"])).expanduser()
        # Read again for each request: a projected token is renewed in place.
        return lambda: f"Bearer {path.read_text(encoding='utf-8').strip()}"
    value = f"Bearer {user['token']}" if user.get("token") else None
    return lambda: value


def _load_by_package(path: str, context: str | None) -> Connection:
    """Exec plugins and the like, by the ``kubernetes`` package."""
    try:
        package = importlib.import_module("kubernetes.config.kube_config")
        errors = importlib.import_module("kubernetes.config.config_exception")
        configuration = importlib.import_module("kubernetes.client").Configuration()
    except ImportError as error:
        raise KubeconfigError(
            f"kubeconfig {path} needs the Python package kubernetes ({error}); install it for the interpreter that runs this module"
        ) from error
    try:
        package.load_kube_config(config_file=path, context=context, client_configuration=configuration, persist_config=False)
    except (errors.ConfigException, OSError, ValueError, TypeError) as error:
        raise KubeconfigError(f"kubeconfig {path} cannot be used: {error}; {NEXT_STEP}") from error
    tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        tls.load_cert_chain(configuration.cert_file, configuration.key_file)

    def token() -> str | None:
        value = configuration.get_api_key_with_prefix("BearerToken", "authorization")
        return str(value) if value else None

    if token() is None and not configuration.cert_file:
        # The package only logs that a plugin could not be run.
        raise KubeconfigError(f"kubeconfig {path} gives no credentials: its exec plugin or auth provider has failed; {NEXT_STEP}")
    return Connection(
        server=str(configuration.host).rstrip("/"),
        tls=tls,
        token=token,
        server_name=getattr(configuration, "tls_server_name", None),
        origin=path,
    )
