"""Judge objects by the schemas of Kubernetes: JSON {"versions": [...], "sets": {name: [object, ...]}} in, {"examined": number, "findings": [...]} out.

A kind without a schema (one of a CRD) is not examined. A finding is [set, version, "Kind name", what is wrong and where].
"""

from __future__ import annotations

import functools
import json
import sys

import kubernetes_validate
from kubernetes_validate import utils


def main() -> None:
    """Answer on standard output."""
    # It reads megabytes of schemas from disk for each object.
    utils.schema_contents = functools.cache(utils.schema_contents)
    asked = json.load(sys.stdin)
    examined, findings = 0, []
    for version in asked["versions"]:
        for name, objects in asked["sets"].items():
            for obj in objects:
                try:
                    kubernetes_validate.validate(obj, version, strict=True)
                except kubernetes_validate.SchemaNotFoundError:
                    continue
                except kubernetes_validate.ValidationError as problem:
                    where = ".".join(map(str, problem.path)) or "the object"
                    findings.append([name, version, f"{obj['kind']} {obj['metadata']['name']}", f"{where}: {problem.message}"])
                examined += 1
    json.dump({"examined": examined, "findings": findings}, sys.stdout)


if __name__ == "__main__":
    main()
