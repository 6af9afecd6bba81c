"""A site on a port of its own: where it listens, what it serves, and to whom."""

from __future__ import annotations

import socket
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.web.client import Agent, ResponseNeverReceived, readBody
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource

from chatnet.core.errors import CannotListen
from chatnet.host import web
from chatnet.host.web import WebPort, any_host, on_loopback, own_host, quiet_site


class Page(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        if request.args.get(b"break"):
            raise ZeroDivisionError("a word that must not be shown")
        return b"a page"


class Server:
    """Opens ports that are closed at the end of the test."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.ports: list[WebPort] = []

    def open(self, endpoint: str = "tcp:0", is_expected_host: Callable[[str], bool] = any_host) -> WebPort:
        port = WebPort(self.reactor, endpoint, lambda: quiet_site({b"page": Page()}, is_expected_host), 9980)
        port.open()
        self.ports.append(port)
        return port

    async def get(self, port: WebPort, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
        headers = Headers({b"host": [f"{host}:{port.address.port}".encode()]})
        url = f"http://127.0.0.1:{port.address.port}{path}".encode()
        response = await Agent(self.reactor).request(b"GET", url, headers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the client, about its own transport
            return response.code, (await readBody(response)).decode()


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[Server]:
    from twisted.internet import reactor

    server = Server(reactor)
    yield server
    for port in server.ports:
        await port.close()


@pytest.mark.filterwarnings("error::DeprecationWarning:twisted.web.resource")
@pytest_twisted.ensureDeferred
async def test_its_pages_are_served_and_nothing_else(server: Server) -> None:
    port = server.open()
    assert await server.get(port, "/page") == (200, "a page")
    for path in ("/", "/other", "/other/page"):
        assert (await server.get(port, path))[0] == 404


@pytest_twisted.ensureDeferred
async def test_it_listens_on_this_machine_alone_until_it_is_closed(server: Server) -> None:
    port = server.open()
    assert port.address.host == "127.0.0.1"
    endpoint = f"tcp:{port.address.port}"
    await server.ports.pop().close()
    assert server.open(endpoint).address.host == "127.0.0.1"
    await port.close()  # once more is nothing


@pytest_twisted.ensureDeferred
async def test_a_request_under_a_foreign_name_sees_no_page(server: Server) -> None:
    port = server.open(is_expected_host=lambda host: host in ("127.0.0.1", "localhost"))
    assert await server.get(port, "/page", "localhost") == (200, "a page")
    for path in ("/page", "/", "/other"):
        code, body = await server.get(port, path, "evil.example")
        assert code == 421
        assert "a page" not in body


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("[::1]", True),
        ("192.0.2.7", True),
        ("localhost", True),
        ("LocalHost", True),
        (socket.gethostname(), True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_a_site_knows_its_own_names(host: str, expected: bool) -> None:
    assert own_host(host) is expected


@pytest_twisted.ensureDeferred
async def test_a_few_connections_have_their_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "WEB_SECONDS", 0.3)
    port = server.open()
    idle = [socket.create_connection(("127.0.0.1", port.address.port)) for _ in range(web.WEB_CONNECTIONS)]
    assert port._connections is not None
    while len(port._connections.protocols) < web.WEB_CONNECTIONS:
        await deferLater(server.reactor, 0)
    with pytest.raises(ResponseNeverReceived):
        await server.get(port, "/page")
    while port._connections.protocols:  # each is cut when its time is over
        await deferLater(server.reactor, 0.01)
    assert (await server.get(port, "/page"))[0] == 200
    for one in idle:
        one.close()


@pytest_twisted.ensureDeferred
async def test_a_closed_port_leaves_no_connection(server: Server) -> None:
    port = server.open()
    with socket.create_connection(("127.0.0.1", port.address.port)):
        assert port._connections is not None
        while not port._connections.protocols:
            await deferLater(server.reactor, 0)
        await port.close()
        while port._connections.protocols:
            await deferLater(server.reactor, 0)


@pytest_twisted.ensureDeferred
async def test_an_internal_error_shows_nothing_of_the_program(server: Server) -> None:
    code, body = await server.get(server.open(), "/page?break=1")
    assert code == 500
    assert "must not be shown" not in body
    assert "Traceback" not in body


@pytest_twisted.ensureDeferred
async def test_a_busy_port_has_a_code_and_a_free_one_beside_it(server: Server) -> None:
    number = server.open().address.port
    with pytest.raises(CannotListen) as caught:
        server.open(f"tcp:{number}")
    assert caught.value.code == "in-use"
    assert caught.value.instead.startswith("tcp:")
    await WebPort(server.reactor, "tcp:0", Factory, 9980).close()  # never opened: nothing to close


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("tcp:9901", "tcp:9901:interface=127.0.0.1"),
        ("tcp:9901:interface=0.0.0.0", "tcp:9901:interface=0.0.0.0"),
        ("unix:/run/metrics", "unix:/run/metrics"),
    ],
)
def test_an_endpoint_is_on_loopback_unless_it_says_otherwise(given: str, meant: str) -> None:
    assert on_loopback(given) == meant
