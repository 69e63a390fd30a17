# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of a tenant's schema: pg_dump and pg_restore in a pod, files on a volume beside the database."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._pod_run import run_pod
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction

LABEL = f"{PREFIX}/backup"
CLAIM = "backups"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ENVIRONMENT = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "user": "PGUSER", "password": "PGPASSWORD"}

# A file has its name only when it is complete and can be read. The newest are kept; the one just written is among them.
_PRESENT = """
folder="/backups/$TENANT"; file="$folder/$NAME.dump"
if [ ! -f "$file" ]; then
  mkdir -p "$folder"; rm -f "$folder"/.part-*
  pg_dump --format=custom --schema="$SCHEMA" --file="$folder/.part-$NAME"
  pg_restore --list "$folder/.part-$NAME" > /tmp/list
  mv "$folder/.part-$NAME" "$file"; changed=true
fi
ls -1t "$folder"/*.dump | tail -n "+$((KEEP + 1))" | while read -r old; do rm -f "$old"; done
"""
# In one transaction: the schema is as in the backup, or as it was. The schema itself stays; its owner could not make it again.
# So does the table of wrapped data keys, where there is one: what it holds is wrapped by the versions of the tenant's key that are in force today, and
# pods seal with keys that a backup does not have. What only the backup has is added first (after the loss of a database); more keys harm nobody.
_RESTORED = """
file="/backups/$TENANT/$NAME.dump"
if [ -f "$file" ]; then
  pg_restore --list "$file" > /tmp/all
  grep -v ' SCHEMA - ' /tmp/all > /tmp/list
  if [ "$(psql -XAtqc "SELECT to_regclass('$SCHEMA.data_keys') IS NOT NULL")" = t ]; then
    pg_restore --data-only --table=data_keys --file=/tmp/rows "$file"
    {
      echo "CREATE TABLE $SCHEMA.data_keys_of_backup AS TABLE $SCHEMA.data_keys WITH NO DATA;"
      sed "s/^COPY [^ ]* /COPY $SCHEMA.data_keys_of_backup /" /tmp/rows
      echo "INSERT INTO $SCHEMA.data_keys SELECT * FROM $SCHEMA.data_keys_of_backup ON CONFLICT DO NOTHING;"
      echo "DROP TABLE $SCHEMA.data_keys_of_backup;"
    } > /tmp/keys
    psql -Xq --set=ON_ERROR_STOP=1 --single-transaction --file=/tmp/keys > /dev/null
    grep -vE " $SCHEMA ((TABLE|COLUMN) )?data_keys[ .]| (INDEX $SCHEMA|$SCHEMA INDEX) data_keys_" /tmp/list > /tmp/kept
    mv /tmp/kept /tmp/list
  fi
  pg_restore --clean --if-exists --single-transaction --exit-on-error --use-list=/tmp/list --dbname="$PGDATABASE" "$file"; changed=true
else
  found=false
fi
"""
_ABSENT = """
if [ -d "/backups/$TENANT" ]; then rm -rf "/backups/$TENANT"; changed=true; fi
"""
_HEAD = "set -eu; umask 077; changed=false; found=true\n"
_TAIL = r"""
names=$(ls -1 "/backups/$TENANT" 2>/dev/null | sed -n 's/^\(.*\)\.dump$/"\1"/p' | tr '\n' ',' | sed 's/,$//')
printf '{"backup": {"changed": %s, "found": %s, "names": [%s]}}\n' "$changed" "$found" "$names"
"""
_SCRIPTS = {"present": _PRESENT, "restored": _RESTORED, "listed": "", "absent": _ABSENT}
STATES = tuple(_SCRIPTS)


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Take, restore, list or remove backups and return the module's result. Raises PlatformError."""
    tenant, state, name = str(options["name"]), str(options["state"]), str(options.get("backup") or "")
    if state in ("present", "restored") and not NAME.fullmatch(name):
        raise PlatformError(f"backup {name!r} is no name of a backup; use letters, digits, dots, hyphens and underscores")
    if state == "restored" and options.get("confirm") != tenant:
        raise PlatformError(
            f"tenant {tenant}: restoring replaces everything in its tables by what backup {name} holds; "
            f"repeat the name of the tenant in confirm (given: {options.get('confirm') or ''!r})"
        )
    if state == "absent" and options.get("confirm") != tenant:
        raise PlatformError(f"tenant {tenant}: its backups are removed for good; repeat its name in confirm (given: {options.get('confirm') or ''!r})")
    if check_mode and state != "listed":
        return {"changed": True, "backup": name, "backups": []}
    resources = Resources(client)
    transaction = Transaction(resources, tenant, options.get("run"))
    objects = [*([_secret(options)] if options.get("database") else []), _pod(options, _HEAD + _SCRIPTS[state] + _TAIL)]
    sentence = {
        "present": f"backup {name} of tenant {tenant} could not be taken",
        "restored": f"backup {name} of tenant {tenant} could not be restored",
        "listed": f"the backups of tenant {tenant} could not be listed",
        "absent": f"the backups of tenant {tenant} could not be removed",
    }[state]
    with transaction.step("backup" if state == "present" else "restore", undo=lambda: {"backup": name}):
        if state != "listed":
            transaction.touch()
        said = run_pod(resources, objects, (LABEL, tenant), "backup", sentence, float(options["wait_timeout"]))[-1]
    names = sorted(said["names"])
    if not said["found"]:
        raise PlatformError(f"tenant {tenant} has no backup {name}; choose one of these: {', '.join(names) or 'none'}. Nothing was changed")
    return {"changed": bool(said["changed"]), "backup": name, "backups": names}


def _metadata(options: Mapping[str, Any]) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": PREFIX, LABEL: str(options["name"])}
    return {"name": f"backup-{options['name']}", "namespace": str(options["namespace"]), "labels": labels}


def _secret(options: Mapping[str, Any]) -> dict[str, Any]:
    values = {_ENVIRONMENT[key]: str(options["database"][key]) for key in _ENVIRONMENT}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(options), "type": "Opaque", "data": data}


def _pod(options: Mapping[str, Any], script: str) -> dict[str, Any]:
    metadata, image = _metadata(options), str(options["image"])
    database = options.get("database") or {}
    given = {"TENANT": options["name"], "NAME": options.get("backup") or "", "SCHEMA": database.get("schema", ""), "KEEP": options["keep"]}
    container = {
        "name": "backup",
        "image": image,
        "imagePullPolicy": "IfNotPresent" if "@sha256:" in image else "Always",
        "command": ["/bin/sh", "-c", script],
        "env": [{"name": key, "value": str(value)} for key, value in given.items()],
        "envFrom": [{"secretRef": {"name": metadata["name"]}}] if database else [],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": CLAIM, "mountPath": "/backups"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    user = int(options["uid"])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": max(1, int(float(options["wait_timeout"]))),
            # A shell as the first process of a container does not end for a signal; what is half-written has another name.
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}, {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
        },
    }
