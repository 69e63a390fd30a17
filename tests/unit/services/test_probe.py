"""The isolation probe, as a pod runs it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from barberpro_service import probe

COMMON = Path(__file__).parents[3] / "services" / "common"


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def nobody():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_one_json_object_a_target_and_exit_0_when_all_are_as_expected(listener, nobody, capsys):
    code = probe.main(["--open", f"127.0.0.1:{listener}", "--closed", f"127.0.0.1:{nobody}", "--open", f"localhost:{listener}"])
    seen = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert [(item["target"], item["expected"], item["actual"], item["ok"]) for item in seen] == [
        (f"127.0.0.1:{listener}", "open", "open", True),
        (f"localhost:{listener}", "open", "open", True),
        (f"127.0.0.1:{nobody}", "closed", "closed", True),
    ]
    assert seen[2]["reason"] == "Connection refused"


def test_exit_1_when_one_is_not(listener, nobody, capsys):
    assert probe.main(["--closed", f"127.0.0.1:{listener}", "--open", f"127.0.0.1:{nobody}", "--retries", "1"]) == 1
    seen = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["ok"] for item in seen] == [False, False]
    assert [item["attempts"] for item in seen] == [2, 2]


def test_a_name_that_does_not_resolve_is_neither(capsys):
    assert probe.main(["--closed", "nobody.invalid:80", "--timeout", "5"]) == 1
    seen = json.loads(capsys.readouterr().out)
    assert (seen["actual"], seen["ok"]) == ("unresolved", False)


def test_no_answer_is_closed(capsys):
    # A listener whose queue is full does not answer further connections: like a dropped packet.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = []
        for _turn in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            waiting.append(client)
        assert probe.main(["--closed", f"127.0.0.1:{address[1]}", "--timeout", "0.3"]) == 0
        for client in waiting:
            client.close()
    assert json.loads(capsys.readouterr().out)["reason"] == "no answer within 0.3 s"


@pytest.mark.parametrize("target", ["nohost", "host:", ":80", "host:0", "host:65536", "host:http"])
def test_a_wrong_target_is_named(target, capsys):
    with pytest.raises(SystemExit) as left:
        probe.main(["--open", target])
    assert left.value.code == 2
    assert f"{target!r} is not HOST:PORT with a port of 1-65535" in capsys.readouterr().err


def test_without_targets_it_says_how(capsys):
    with pytest.raises(SystemExit):
        probe.main([])
    assert "give at least one --open or --closed HOST:PORT" in capsys.readouterr().err


def test_ipv6_addresses_are_written_in_brackets():
    assert probe.parse_target("[fd00::1]:443") == ("fd00::1", 443)


def test_it_needs_the_standard_library_only(listener):
    command = [sys.executable, "-S", "-E", "-m", "barberpro_service.probe", "--open", f"127.0.0.1:{listener}"]
    result = subprocess.run(command, cwd=COMMON, capture_output=True, text=True, check=False, timeout=30)
    assert (result.returncode, result.stderr) == (0, "")
