"""The verifier of a password, as RFC 7677 computes it; that a server takes it is shown by every integration test that logs in."""

from __future__ import annotations

import base64

from ansible_collections.barberpro.platform.plugins.filter.scram import FilterModule, scram

# The example of RFC 7677: its server signature follows from this server key, its proof from this stored key.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def test_the_example_of_the_rfc() -> None:
    verifier = scram("pencil", SALT)
    assert verifier == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_the_salt_is_another_one_each_time() -> None:
    make = FilterModule().filters()["scram"]
    assert make("pencil") != make("pencil")
    assert "pencil" not in make("pencil")
