"""DNS, TLS, redirect and plain HTTP against servers on loopback."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import dns.resolver
import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._checks_edge import covers
from ansible_collections.barberpro.platform.plugins.module_utils._dns import NameServers
from ansible_collections.barberpro.platform.plugins.module_utils._web import split_address

from tests.support import loopback
from tests.support.loopback import Reply, Request

Check = Callable[..., str]
HOST = "palermo.barberpro.test"


def test_dns(check: Check) -> None:
    with loopback.name_server({HOST: ("A", "10.0.0.7"), "www.barberpro.test": ("CNAME", f"{HOST}.")}) as port:
        server = {"server": "127.0.0.1", "port": port}
        assert check("dns", name=HOST, address="10.0.0.7", **server) == f"passed: {HOST} is 10.0.0.7 (TTL 60 s), says 127.0.0.1:{port}"
        assert check("dns", name="www.barberpro.test", type="CNAME", address=HOST, **server).startswith("passed")
        wrong = check("dns", name=HOST, address="10.0.0.8", **server)
        assert wrong == f"failed: {HOST} is 10.0.0.7 instead of 10.0.0.8, says 127.0.0.1:{port}; correct the record, or wait for its TTL"
        none = check("dns", name="none.barberpro.test", address="10.0.0.8", **server)
        assert none == f"failed: none.barberpro.test does not exist, says 127.0.0.1:{port}; see whether the record was written to the zone"
        assert f"{HOST} has no AAAA record" in check("dns", name=HOST, address="::1", type="AAAA", **server)
    assert "name server no-such-host.invalid is unknown" in check("dns", name=HOST, address="x", server="no-such-host.invalid")


def test_dns_of_a_gateway_that_has_a_name(check: Check) -> None:
    """An alias is one however it is answered: by the name, or (where the provider flattens it) by the addresses of that name."""
    gateway = "gateway.barberpro.test"
    records = {
        HOST: ("CNAME", f"{gateway}."), gateway: ("A", "10.0.0.7"), "flat.barberpro.test": ("A", "10.0.0.7"), "other.barberpro.test": ("A", "10.0.0.8"),
        "stray.barberpro.test": ("CNAME", "old.barberpro.test."),
    }
    with loopback.name_server(records) as port:
        asked = {"type": "CNAME", "address": "Gateway.barberpro.test", "server": "127.0.0.1", "port": port}
        assert check("dns", name=HOST, **asked) == f"passed: {HOST} is {gateway} (TTL 60 s), says 127.0.0.1:{port}"
        flat = check("dns", name="flat.barberpro.test", **asked)
        assert flat == f"passed: flat.barberpro.test is 10.0.0.7 as {gateway} is, says 127.0.0.1:{port}"
        assert "stray.barberpro.test is old.barberpro.test instead of gateway.barberpro.test" in check("dns", name="stray.barberpro.test", **asked)
        assert check("dns", name="other.barberpro.test", **asked).startswith("failed: other.barberpro.test has no CNAME record, says")


def test_dns_of_a_gateway_with_an_address_of_version_6(check: Check) -> None:
    with loopback.name_server({HOST: ("AAAA", "2001:db8::7")}) as port:
        assert "is 2001:db8::7 (TTL" in check("dns", name=HOST, address="2001:DB8:0:0::7", type="AAAA", server="127.0.0.1", port=port)


def test_dns_of_a_name_that_keeps_the_address_of_before(check: Check) -> None:
    with loopback.name_server({HOST: ("A", "10.0.0.7 10.0.0.8")}) as port:
        asked = {"name": HOST, "address": "10.0.0.7", "server": "127.0.0.1", "port": port}
        assert check("dns", **asked) == f"passed: {HOST} is 10.0.0.7, 10.0.0.8 (TTL 60 s), says 127.0.0.1:{port}"
        assert check("dns", **asked, only=True).startswith(f"failed: {HOST} is 10.0.0.8 beside 10.0.0.7, says 127.0.0.1:{port}; take what is beside it out")
        assert check("dns", **{**asked, "address": "10.0.0.9"}, only=True).startswith(f"failed: {HOST} is 10.0.0.7, 10.0.0.8 instead of 10.0.0.9")


def test_dns_that_is_silent(check: Check) -> None:
    found = check("dns", name=HOST, address="x", server="127.0.0.1", port=loopback.free_port())
    assert re.search(rf"failed: 127\.0\.0\.1:\d+ gave no answer for {re.escape(HOST)}: \w+; check that the name server runs", found)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes a server on loopback the resolver of the runner."""

    def point(port: int) -> None:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], port
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)

    return point


ZONE = {"barberpro.test": ("NS", "ns.barberpro.test."), "ns.barberpro.test": ("A", "127.0.0.1")}


def test_a_resolver_that_remembers_that_there_was_nothing(check: Check, runner: Callable[[int], None]) -> None:
    """Behind the first deploy of a tenant it says so for a quarter of an hour; the zone's own servers know at once."""
    with loopback.name_server(ZONE) as resolver, loopback.name_server({HOST: ("A", "10.0.0.7")}) as own:
        runner(resolver)
        asked = {"name": HOST, "address": "10.0.0.7", "port": own}
        assert check("dns", **asked, zone="barberpro.test") == (
            f"passed: {HOST} is 10.0.0.7 (TTL 60 s), says the name servers of zone barberpro.test (127.0.0.1)"
        )
        assert check("dns", **asked).startswith(f"failed: {HOST} does not exist, says the runner's resolvers; ")
        assert NameServers("", own, "barberpro.test").ask(HOST, "A").values == ["10.0.0.7"]


@pytest.mark.parametrize("known", [ZONE, {}], ids=["silent", "unknown"])
def test_a_zone_whose_own_servers_cannot_be_asked(check: Check, runner: Callable[[int], None], known: dict[str, tuple[str, str]]) -> None:
    with loopback.name_server({**known, HOST: ("A", "10.0.0.7")}) as resolver:
        runner(resolver)
        asked = {"name": HOST, "address": "10.0.0.7", "port": loopback.free_port()}
        assert check("dns", **asked, zone="barberpro.test") == f"passed: {HOST} is 10.0.0.7 (TTL 60 s), says the runner's resolvers"


def test_nobody_knows(check: Check, runner: Callable[[int], None]) -> None:
    runner(loopback.free_port())
    found = check("dns", name=HOST, address="10.0.0.7", zone="barberpro.test")
    assert re.search(rf"failed: the runner's resolvers gave no answer for {re.escape(HOST)}: \w+; check that the name server runs", found)


def test_tls(check: Check, tmp_path: Path) -> None:
    authority = loopback.Authority(tmp_path)
    ca = {"ca_file": str(authority.file)}
    with loopback.web(lambda _request: Reply(), authority.issue("*.barberpro.test", days=80)) as server:
        asked = {"host": HOST, "address": server.address}
        found = check("tls", **asked, **ca)
        assert re.fullmatch(r"passed: chain and name verify \(\*\.barberpro\.test\), TLSv1\.3, expires \d{4}-\d\d-\d\d in 80 days", found)
        assert f"certificate of {HOST} at {server.address} does not verify: " in check("tls", **asked)
        found = check("tls", **asked, **ca, san="other.test")
        assert found == f"failed: certificate of {HOST} at {server.address} is for *.barberpro.test, not for other.test; issue one for this name"
        assert "in 80 days, fewer than 90; renew it" in check("tls", **asked, **ca, min_days=90)
        assert "does not verify: Hostname mismatch" in check("tls", host="a.b.barberpro.test", address=server.address, **ca)
        assert "cannot be used" in check("tls", **asked, ca_file=str(tmp_path / "none.pem"))
    with loopback.web(lambda _request: Reply()) as plain:
        assert "does not speak TLS" in check("tls", host=HOST, address=plain.address, **ca)


@pytest.mark.parametrize(("pattern", "name", "good"), [("*.x.y", "a.x.y", True), ("*.x.y", "a.b.x.y", False), ("x.y", "x.y", True), ("*.x.y", "x", False)])
def test_names_that_a_certificate_covers(pattern: str, name: str, good: bool) -> None:
    assert covers(pattern, name) is good


def test_redirect(check: Check) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/none":
            return Reply(200)
        return Reply(301, headers={"Location": f"https://{request.headers['host']}:443/"})

    with loopback.web(answer) as server:
        asked = {"url": f"http://{HOST}/", "address": server.address}
        found = check("redirect", **asked, location=f"https://{HOST}/")
        assert found == f"passed: http://{HOST}/ redirects with HTTP 301 to https://{HOST}:443/"
        assert server.log[0].headers["host"] == HOST
        wrong = check("redirect", **asked, location="https://other.test/")
        assert wrong == f"failed: http://{HOST}/ redirects to https://{HOST}:443/ instead of https://other.test/; check the route named redirect"
        none = check("redirect", url=f"http://{HOST}/none", address=server.address, location=f"https://{HOST}/")
        assert none == f"failed: http://{HOST}/none answers HTTP 200 and does not redirect; check the route named redirect"


def site(request: Request) -> Reply:
    revision = request.headers.get("x-barberpro-revision", "r1")
    return Reply(503, "down") if request.path == "/down" else Reply(200, "<h1>Peluquería</h1>", {"X-Barberpro-Revision": revision})


def test_http(check: Check) -> None:
    with loopback.web(site) as server:
        asked = {"url": f"http://{HOST}/page?x=1", "address": server.address}
        headers = {"x-barberpro-revision": "r3"}
        found = check("http", **asked, headers=headers, expect_headers={"X-Barberpro-Revision": "r3"}, expect_body="Peluquería")
        assert found == f"passed: GET http://{HOST}/page?x=1 answers HTTP 200 (20 bytes)"
        assert server.log[0].path == "/page?x=1"
        found = check("http", **asked, expect_headers={"X-Barberpro-Revision": "r3"})
        assert found == (
            f"failed: GET http://{HOST}/page?x=1: header X-Barberpro-Revision is r1 instead of r3; check which revision the route leads to"
        )
        assert "the page does not contain 'Palermo'; check the service's settings" in check("http", **asked, expect_body="Palermo")
        down = {"url": f"http://{HOST}/down", "address": server.address}
        found = check("http", **down)
        assert found == f"failed: GET http://{HOST}/down answers HTTP 503 instead of 200: down; check the route and the service's log"
        assert check("http", **down, expect_failure=True) == f"passed: GET http://{HOST}/down is refused with HTTP 503, as it should"
        assert "and should not be reachable" in check("http", **asked, expect_failure=True)
    nobody = {"url": f"http://{HOST}/", "address": f"127.0.0.1:{loopback.free_port()}"}
    assert check("http", **nobody, expect_failure=True) == f"passed: GET http://{HOST}/ gets no answer, as it should"
    assert f"http://{HOST} at {nobody['address']}: GET /: no answer: [Errno 111] Connection refused" in check("http", **nobody)
    assert "'ftp://x' is not an http or https URL; correct the parameter url" in check("http", url="ftp://x")


def test_https(check: Check, tmp_path: Path) -> None:
    authority = loopback.Authority(tmp_path)
    with loopback.web(site, authority.issue(HOST)) as server:
        asked = {"url": f"https://{HOST}/", "address": server.address}
        assert check("http", **asked, ca_file=str(authority.file)).startswith("passed")
        assert check("http", **asked, verify=False).startswith("passed")
        assert f"https://{HOST} at {server.address}: the certificate does not verify: " in check("http", **asked)


def test_a_server_that_says_nothing_is_not_waited_for(check: Check) -> None:
    with loopback.silent() as port:
        found = check("http", url=f"http://{HOST}/", address=f"127.0.0.1:{port}", deadline=0.5)
    assert found.startswith("failed: no result within its deadline of 500 ms")


@pytest.mark.parametrize(
    ("text", "parts"),
    [("10.0.0.1", ("10.0.0.1", 443)), ("10.0.0.1:84", ("10.0.0.1", 84)), ("::1", ("::1", 443)), ("[::1]:84", ("::1", 84)), ("a.test", ("a.test", 443))],
)
def test_addresses(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text, 443) == parts
