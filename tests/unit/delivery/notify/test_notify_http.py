"""A request to the app, over TCP and UNIX sockets; only the status of its answer counts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from agent.config.model import NotifyHttp
from agent.core.errors import ConfigurationError, NotifyError
from agent.delivery.http import endpoint
from agent.delivery.notify import Announcement, notifier
from tests.rig.processes import free_port
from tests.rig.raw_server import silent, talking
from tests.rig.tls import Authority

NEWS = Announcement("web", Path("/run/web"), 7)

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class App:
    """A real server on TCP and on a socket; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.status = 200

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs))
        assert not await request.read()
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def serving(
    answer: Answer, socket: Path, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve both; the URL over TCP."""
    server = web.Server(answer)
    runner = web.ServerRunner(server, shutdown_timeout=0.01)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def refusal(url: str, timeout: float = 10.0) -> NotifyError:
    with pytest.raises(NotifyError) as raised:
        await notifier(NotifyHttp(http=url, timeout=timeout)).notify(NEWS)
    return raised.value


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_the_app_is_asked_once_by_the_method(tmp_path: Path, method: str) -> None:
    app = App()
    async with serving(app.answer, tmp_path / "s") as url:
        spec = NotifyHttp(http=f"{url}/-/reload?deep=1", method=method)  # type: ignore[arg-type]
        await notifier(spec).notify(NEWS)
        assert notifier(spec).target == f"{method} {url}/-/reload"
    assert app.asked == [(method, "/-/reload?deep=1")]


async def test_the_app_is_asked_over_a_unix_socket(tmp_path: Path) -> None:
    app = App()
    async with serving(app.answer, tmp_path / "app.sock"):
        spec = NotifyHttp(http=f"http+unix:{tmp_path}/app.sock:/-/reload?deep=1")
        await notifier(spec).notify(NEWS)
        assert notifier(spec).target == f"POST http+unix:{tmp_path}/app.sock:/-/reload"
    assert app.asked == [("POST", "/-/reload?deep=1")]


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_2xx_will_do(tmp_path: Path, status: int) -> None:
    app = App()
    app.status = status
    async with serving(app.answer, tmp_path / "s") as url:
        await notifier(NotifyHttp(http=url)).notify(NEWS)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
async def test_any_other_status_is_a_failure_and_no_redirect_is_followed(
    tmp_path: Path, status: int
) -> None:
    app = App()
    app.status = status
    async with serving(app.answer, tmp_path / "s") as url:
        error = await refusal(url)
    assert str(error) == f"POST {url}/: status {status}, wanted 2xx"
    assert len(app.asked) == 1


async def test_no_failure_tells_what_the_url_holds_besides_host_and_path(tmp_path: Path) -> None:
    async with talking(b"") as url:
        host = url.removeprefix("http://")
        error = await refusal(f"http://user:hunter2@{host}/reload?token=hunter2#hunter2")
    assert str(error) == f"POST http://{host}/reload: the connection was closed without an answer"
    assert "hunter2" not in repr(endpoint("http://user:hunter2@host/reload?token=hunter2"))


async def test_an_app_that_does_not_listen_is_a_failure(tmp_path: Path) -> None:
    tcp = await refusal(f"http://127.0.0.1:{free_port()}/")
    unix = await refusal(f"http+unix:{tmp_path}/none.sock:/")
    assert tcp.reason == "no connection: Connection refused"
    assert unix.reason == "no connection: No such file or directory"
    assert not tcp.is_absent


async def test_an_app_that_does_not_answer_is_given_up() -> None:
    async with silent() as url:
        assert (await refusal(url, timeout=0.1)).reason == "no answer within 0.1 s"


async def test_a_notification_that_is_cancelled_hangs_up() -> None:
    async with silent() as url:
        asking = asyncio.create_task(notifier(NotifyHttp(http=url)).notify(NEWS))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asking, 0.05)


async def test_what_is_not_http_is_a_failure() -> None:
    async with talking(b"220 smtp.example ESMTP\r\n") as url:
        assert (await refusal(url)).reason == "an answer that is not HTTP"


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_a_body_is_not_read_to_its_end(coding: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\nContent-Encoding: {coding}\r\n\r\n"
    async with talking(head.encode() + b"x" * 9000) as url:
        await notifier(NotifyHttp(http=url)).notify(NEWS)


async def test_a_certificate_that_is_not_trusted_is_a_failure(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("app.example")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.cert_file, pair.key_file)
    app = App()
    async with serving(app.answer, tmp_path / "s", tls) as url:
        error = await refusal(url)
    assert error.reason == "no TLS connection: the certificate or the protocol was refused"
    assert not app.asked


async def test_no_proxy_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App()
    async with serving(app.answer, tmp_path / "s") as url:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        await notifier(NotifyHttp(http=url)).notify(NEWS)
    assert len(app.asked) == 1


@pytest.mark.parametrize(
    ("url", "shown", "socket"),
    [
        ("http://h", "http://h/", None),
        ("https://h:8443/a?b#c", "https://h:8443/a", None),
        ("http://[::1]:80/a", "http://[::1]:80/a", None),
        ("http+unix:/run/a.sock", "http+unix:/run/a.sock:/", "/run/a.sock"),
        ("http+unix:///run/a.sock:/b/c?d", "http+unix:/run/a.sock:/b/c", "/run/a.sock"),
        ("http+unix:/run/a.sock:/b:/c", "http+unix:/run/a.sock:/b:/c", "/run/a.sock"),
    ],
)
def test_a_url_is_understood(url: str, shown: str, socket: str | None) -> None:
    found = endpoint(url)
    assert (found.shown, found.socket) == (shown, socket)


@pytest.mark.parametrize(
    "url",
    [
        *("", "app/reload", "ftp://h/", "http:///reload", "http://h:port/", "http://[::1/"),
        *("http+unix:", "http+unix:run/a.sock:/", "http+unix:/:/", "file:///etc/passwd"),
    ],
)
def test_a_url_that_can_not_work_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError):
        notifier(NotifyHttp(http=url))
