"""What restarts the servers of the platform: whatever they read only when they start."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.support.platform_role import CERTIFICATES, evaluated, objects


def test_a_new_certificate_restarts_postgresql_in_the_run_that_has_its_clients_trust_it(tmp_path: Path) -> None:
    secret = {**CERTIFICATES, "postgresql-tls": {"ca.crt": "", "tls.crt": base64.b64encode(b"old\n").decode()}}
    without = {name: data for name, data in secret.items() if name != "postgresql-tls"}
    found = evaluated(tmp_path, {"objects": objects("postgresql")}, {
        "old": {"__platform_secrets": secret},
        "made": {"__platform_secrets": without, "__platform_new_certificates": {"postgresql-tls": "old\n"}},
        "new": {"__platform_secrets": without, "__platform_new_certificates": {"postgresql-tls": "new\n"}},
    })  # fmt: skip
    read = {
        name: item["spec"]["template"]["metadata"]["annotations"]["barberpro.platform/configuration"]
        for name, case in found.items() for item in case["objects"] if item["kind"] == "StatefulSet"
    }  # fmt: skip
    assert read["old"] == read["made"] != read["new"]
