"""A download that breaks off is tried again and resumed; what another try does not change fails at once.

The servers here answer as RFC 9110 allows, also in the ways that a resumed download must not take for its rest.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ganmetrics.features import download
from ganmetrics.features.download import DownloadError, download_file

BODY = np.random.default_rng(0).bytes(1_000_003)
OTHER = np.random.default_rng(1).bytes(len(BODY))
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers the n-th request by the n-th behaviour of its server, later ones by the last."""

    def do_GET(self) -> None:
        seen = self.server.seen
        seen.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        behaviours = self.server.behaviours
        behaviours[min(len(seen), len(behaviours)) - 1](self)

    def do_CONNECT(self) -> None:
        self.server.seen.append((self.path, "CONNECT", None))
        self.send_error(502)

    def log_message(self, *args: object) -> None:
        pass


def fails(code: int, **headers: str) -> Behaviour:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def gives(
    body: bytes = BODY,
    *,
    until: int | None = None,
    ranges: bool = True,
    etag: str | None = None,
    length: bool = True,
    shift: int = 0,
) -> Behaviour:
    """The file, cut off at byte `until`.

    ranges: whether a request for a part gets that part; False sends the whole file.
    shift: how many bytes later the part begins than was asked for.
    """

    def answer(handler: Handler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        unchanged = handler.headers.get("If-Range") in (None, etag)
        start = int(asked[1]) + shift if asked and ranges and unchanged else 0
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if etag:
            handler.send_header("ETag", etag)
        if length:
            handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        handler.wfile.write(body[start:until])

    return answer


def breaks_off(after: int) -> Behaviour:
    """Sends a part of the file, then resets the connection."""

    def answer(handler: Handler) -> None:
        gives(until=after)(handler)
        handler.wfile.flush()
        time.sleep(0.2)  # else the reset overtakes the part
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return answer


@pytest.fixture
def serve() -> Iterator[Callable[..., ThreadingHTTPServer]]:
    """A server of these behaviours; `url` is the address of its file, `seen` its requests (path, Range, If-Range)."""
    with ExitStack() as stack:

        def start(*behaviours: Behaviour) -> ThreadingHTTPServer:
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            server.daemon_threads, server.behaviours, server.seen = True, behaviours, []
            server.url = f"http://127.0.0.1:{server.server_port}/weights.pth"
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            return server

        yield start


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in seconds; none of them is waited for."""
    made: list[float] = []
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=made.append))
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return made


def load(url: str, target: Path) -> None:
    download_file(url, target, size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest())


def ranges_of(server: ThreadingHTTPServer) -> list[str | None]:
    return [asked for _, asked, _ in server.seen]


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("etag", [None, '"one"', 'W/"weak"'])
def test_cut_off_twice_and_resumed(
    length: bool, etag: str | None, serve: Callable, pauses: list[float], tmp_path: Path
) -> None:
    server = serve(
        gives(until=300_000, etag=etag, length=length), gives(until=700_001, etag=etag, length=length), gives(etag=etag)
    )
    load(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges_of(server) == [None, "bytes=300000-", "bytes=700001-"]
    strong = None if etag is None or etag.startswith("W/") else etag
    assert [condition for _, _, condition in server.seen] == [None, strong, strong]
    assert pauses == [1.0, 2.0]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_connection_that_is_reset(serve: Callable, pauses: list[float], tmp_path: Path) -> None:
    server = serve(breaks_off(600_000), gives())
    load(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    start = int(str(ranges_of(server)[1]).removeprefix("bytes=").removesuffix("-"))
    assert 600_000 - download.CHUNK <= start <= 600_000


def test_a_server_that_ignores_ranges_begins_again(serve: Callable, pauses: list[float], tmp_path: Path) -> None:
    server = serve(gives(until=900_000), gives(until=500_000, ranges=False), gives(ranges=False))
    load(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges_of(server) == [None, "bytes=900000-", "bytes=500000-"]


def test_a_file_that_changed_meanwhile_begins_again(serve: Callable, pauses: list[float], tmp_path: Path) -> None:
    server = serve(gives(OTHER, until=400_000, etag='"old"'), gives(etag='"new"'))
    load(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.seen[1][1:] == ("bytes=400000-", '"old"')


def test_without_an_etag_the_checksum_finds_a_file_that_changed(
    serve: Callable, pauses: list[float], tmp_path: Path
) -> None:
    server = serve(gives(OTHER, until=400_000), gives())
    load(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges_of(server) == [None, "bytes=400000-", None]


@pytest.mark.parametrize("wrong", [gives(shift=10), gives(BODY + b"!"), fails(416)])
def test_an_answer_that_is_not_the_rest(wrong: Behaviour, serve: Callable, pauses: list[float], tmp_path: Path) -> None:
    server = serve(gives(until=400_000), wrong, gives())
    load(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges_of(server) == [None, "bytes=400000-", None]


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_at_first(code: int, serve: Callable, pauses: list[float], tmp_path: Path) -> None:
    server = serve(fails(code), gives())
    load(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(server.seen) == 2


@pytest.mark.parametrize(("asked", "made"), [("7", 7.0), ("0", 1.0), ("86400", 30.0), ("soon", 1.0)])
def test_the_pause_that_a_server_asks_for(
    asked: str, made: float, serve: Callable, pauses: list[float], tmp_path: Path
) -> None:
    load(serve(fails(503, Retry_After=asked), gives()).url, tmp_path / "file")
    assert pauses == [made]


@pytest.mark.parametrize(
    ("behaviours", "said", "tries"),
    [
        ([fails(404)], "HTTP 404 Not Found (1 try)", 1),
        ([fails(403)], "HTTP 403 Forbidden (1 try)", 1),
        ([fails(407)], "HTTP 407 Proxy Authentication Required (1 try)", 1),
        ([fails(503)], "HTTP 503 Service Unavailable (3 tries)", 3),
        ([gives(until=5000), fails(503), fails(404)], "HTTP 404 Not Found (3 tries)", 3),
        ([gives(until=1234)], "expected 1,000,003 bytes, got 1,234 (3 tries)", 3),
        ([gives(b"<html>log in first</html>")], "expected 1,000,003 bytes, the server has 25 (1 try)", 1),
        (
            [gives(OTHER)],
            f"wrong bytes: expected SHA-256 {hashlib.sha256(BODY).hexdigest()}, "
            f"got {hashlib.sha256(OTHER).hexdigest()} (1 try)",
            1,
        ),
    ],
)
def test_the_last_reason_and_the_number_of_tries(
    behaviours: list[Behaviour], said: str, tries: int, serve: Callable, pauses: list[float], tmp_path: Path
) -> None:
    server = serve(*behaviours)
    with pytest.raises(DownloadError) as caught:
        load(server.url, tmp_path / "file")
    assert str(caught.value) == said
    assert len(server.seen) == tries
    assert len(pauses) == tries - 1
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_no_fault_of_the_network(
    serve: Callable, pauses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(arriving: object, chunk: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download._Arriving, "_write", full)
    server = serve(gives())
    with pytest.raises(OSError, match="No space left"):
        load(server.url, tmp_path / "file")
    assert len(server.seen) == 1


def test_through_a_proxy_that_is_named_later(
    serve: Callable, pauses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy is asked for the whole address; its file is resumed too."""
    load(serve(gives()).url, tmp_path / "direct")
    proxy = serve(gives(until=100_000), gives())
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    load("http://weights.invalid/weights.pth", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert proxy.seen == [
        ("http://weights.invalid/weights.pth", None, None),
        ("http://weights.invalid/weights.pth", "bytes=100000-", None),
    ]


def test_no_proxy_for_hosts_that_are_left_out(
    serve: Callable, pauses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct, proxy = serve(gives()), serve(fails(500))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("no_proxy", "example.org,127.0.0.1")
    load(direct.url, tmp_path / "file")
    assert (len(direct.seen), proxy.seen) == (1, [])


def test_https_goes_through_a_tunnel_of_the_proxy(
    serve: Callable, pauses: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(gives())
    monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.server_port}")
    with pytest.raises(DownloadError, match=r"^Tunnel connection failed: 502 Bad Gateway \(3 tries; behind a proxy, "):
        load("https://weights.invalid/weights.pth", tmp_path / "file")
    assert proxy.seen == 3 * [("weights.invalid:443", "CONNECT", None)]
