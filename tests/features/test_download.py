"""Downloads that fail in every way leave one line and no file; those that succeed leave the whole file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ganmetrics.features import download
from ganmetrics.features.download import DownloadError, download_file

BODY = b"not really weights, but their bytes are known" * 50_000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = {"/good": BODY, "/short": BODY[:1000], "/wrong": BODY[::-1], "/long": BODY + b"!"}.get(self.path)
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[: len(BODY) // 2])
        elif self.path == "/silent":
            self.server.release.wait(10)
        elif body is None:
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        running.release = threading.Event()
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.release.set()
        running.shutdown()


@pytest.fixture(autouse=True)
def _no_proxy_and_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new/folder/file.bin"


def load(url: str, target: Path) -> None:
    download_file(url, target, size=len(BODY), sha256=SHA256)


def left(target: Path) -> list[str]:
    return [path.name for path in target.parent.iterdir()]


def test_whole_and_without_a_bar_where_stderr_is_no_terminal(
    server: str, target: Path, capfd: pytest.CaptureFixture[str]
):
    load(f"{server}/good", target)
    assert target.read_bytes() == BODY
    assert left(target) == ["file.bin"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/short", f"expected {len(BODY):,} bytes, got 1,000 (3 tries)"),
        ("/long", f"expected {len(BODY):,} bytes, got more (1 try)"),
        ("/wrong", f"wrong bytes: expected SHA-256 {SHA256}, got {hashlib.sha256(BODY[::-1]).hexdigest()} (1 try)"),
        ("/absent", "HTTP 404 Not Found (1 try)"),
        ("/silent", "no answer within 0 s (3 tries; behind a proxy, name it in https_proxy)"),
    ],
)
def test_failed_downloads(path: str, reason: str, server: str, target: Path, monkeypatch: pytest.MonkeyPatch):
    if path == "/silent":
        monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with pytest.raises(DownloadError) as caught:
        load(server + path, target)
    assert str(caught.value) == reason
    assert left(target) == []


@pytest.mark.parametrize(
    "url", ["http://no-such-host.invalid/file", "ftp://127.0.0.1:1/file", "no url at all", "file:///absent/file"]
)
def test_unreachable_addresses(url: str, target: Path):
    with pytest.raises(DownloadError) as caught:
        load(url, target)
    assert "\n" not in str(caught.value)
    assert left(target) == []


def test_connection_cut_in_the_middle(server: str, target: Path):
    with pytest.raises(DownloadError):
        load(f"{server}/cut", target)
    assert left(target) == []


def test_a_failed_download_leaves_the_file_that_was_there(server: str, target: Path):
    target.parent.mkdir(parents=True)
    target.write_bytes(b"older")
    with pytest.raises(DownloadError):
        load(f"{server}/wrong", target)
    assert target.read_bytes() == b"older"
    load(f"{server}/good", target)
    assert target.read_bytes() == BODY


def test_folder_that_cannot_be_made(server: str, tmp_path: Path):
    (tmp_path / "a-file").touch()
    with pytest.raises(NotADirectoryError):
        load(f"{server}/good", tmp_path / "a-file/folder/file.bin")


def test_interrupted_download_leaves_nothing(server: str, target: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(answer: object) -> Iterator[bytes]:
        yield BODY[:1000]
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(f"{server}/good", target)
    assert left(target) == []


def test_downloading_at_the_same_time(server: str, target: Path):
    failures: list[BaseException] = []

    def work() -> None:
        try:
            load(f"{server}/good", target)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert target.read_bytes() == BODY
    assert left(target) == ["file.bin"]
