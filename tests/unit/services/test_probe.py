"""The isolation probe, as a pod runs it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
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


@pytest.fixture
def silent():
    # A listener whose queue is full does not answer further connections: like a dropped packet.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = []
        for _turn in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(full.getsockname())
            waiting.append(client)
        yield full.getsockname()[1]
        for client in waiting:
            client.close()


def test_one_json_object_a_target_and_exit_0_when_all_are_as_expected(listener, silent, capsys):
    code = probe.main(["--open", f"127.0.0.1:{listener}", "--closed", f"127.0.0.1:{silent}", "--open", f"localhost:{listener}", "--timeout", "0.5"])
    seen = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert [(item["target"], item["expected"], item["actual"], item["ok"]) for item in seen] == [
        (f"127.0.0.1:{listener}", "open", "open", True),
        (f"localhost:{listener}", "open", "open", True),
        (f"127.0.0.1:{silent}", "closed", "closed", True),
    ]
    assert seen[2]["reason"] == "no answer within 0.5 s"


def test_exit_1_when_one_is_not(listener, nobody, capsys):
    assert probe.main(["--closed", f"127.0.0.1:{listener}", "--open", f"127.0.0.1:{nobody}", "--retries", "1"]) == 1
    seen = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["ok"] for item in seen] == [False, False]
    # What must not be reached and was is not tried again.
    assert [(item["expected"], item["attempts"]) for item in seen] == [("open", 2), ("closed", 1)]


def test_what_was_reached_once_is_not_closed_because_it_has_gone(capsys):
    """As with a pod of several behind a Service, or one that ends at that moment."""
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()

    def once() -> None:
        server.accept()[0].close()
        server.close()

    thread = threading.Thread(target=once)
    thread.start()
    assert probe.main(["--closed", f"127.0.0.1:{address[1]}", "--retries", "2", "--timeout", "1"]) == 1
    thread.join()
    assert json.loads(capsys.readouterr().out)["actual"] == "open"


def test_one_of_many_connections_side_by_side_is_enough(monkeypatch):
    outcomes = iter([("closed", "no answer"), ("closed", "no answer"), ("open", "connected")])

    async def connect(_found, _timeout):
        return next(outcomes)

    monkeypatch.setattr(probe, "connect", connect)
    found = asyncio.run(probe.check("127.0.0.1", 80, "closed", 1, 2))
    assert (found["actual"], found["ok"], found["attempts"]) == ("open", False, 1)


def test_a_target_that_refuses_was_reached(nobody, capsys):
    assert probe.main(["--closed", f"127.0.0.1:{nobody}", "--retries", "2"]) == 1
    seen = json.loads(capsys.readouterr().out)
    assert (seen["actual"], seen["ok"], seen["reason"], seen["attempts"]) == ("refused", False, "Connection refused", 1)


@pytest.mark.parametrize(
    ("level", "kind", "origin", "on_the_way"),
    [
        (socket.IPPROTO_IP, 11, 2, True),  # a network that rejects (ICMP, port unreachable), as of a policy or of a Service without pods
        (socket.IPPROTO_IPV6, 25, 3, True),
        (socket.IPPROTO_IP, 11, 1, False),  # of this machine's own making
        (socket.SOL_SOCKET, 11, 2, False),
    ],
)
def test_who_has_refused(level, kind, origin, on_the_way):
    class Refused:
        def recvmsg(self, *_arguments):
            return b"", [(level, kind, bytes([111, 0, 0, 0, origin, 3, 3, 0]))], 0, None

    assert probe.rejected(Refused()) is on_the_way


@pytest.mark.parametrize(
    ("outcomes", "actual", "reason"),
    [
        ({"::1": ("closed", "Network is unreachable"), "127.0.0.1": ("open", "connected")}, "open", "127.0.0.1: connected"),
        ({"::1": ("closed", "no answer"), "127.0.0.1": ("refused", "Connection refused")}, "refused", "127.0.0.1: Connection refused"),
        ({"::1": ("closed", "no answer"), "127.0.0.1": ("error", "odd")}, "error", "127.0.0.1: odd"),
        ({"::1": ("closed", "no answer"), "127.0.0.1": ("closed", "no answer")}, "closed", "::1: no answer"),
    ],
)
def test_all_addresses_of_a_name_are_tried(outcomes, actual, reason, monkeypatch):
    def resolved(*_arguments, **_options):
        families = {"::1": socket.AF_INET6, "127.0.0.1": socket.AF_INET}
        return [(families[address], socket.SOCK_STREAM, 6, "", (address, 80)) for address in outcomes]

    async def connect(found, _timeout):
        return outcomes[found[4][0]]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(probe, "connect", connect)
    for expected in ("open", "closed"):
        found = asyncio.run(probe.check("both.example", 80, expected, 1, 0))
        assert (found["actual"], found["reason"], found["ok"]) == (actual, reason, actual == expected)


def test_it_waits_before_the_first_attempt_where_rules_come_late(listener, monkeypatch):
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert probe.main(["--open", f"127.0.0.1:{listener}", "--settle", "5"]) == 0
    assert waited == [5]


def test_a_name_that_does_not_resolve_is_neither(capsys):
    assert probe.main(["--closed", "nobody.invalid:80", "--timeout", "5"]) == 1
    seen = json.loads(capsys.readouterr().out)
    assert (seen["actual"], seen["ok"]) == ("unresolved", False)


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
