"""A web server of this machine that misbehaves on request, and a home for weights of its own."""

import hashlib
import http.server
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from refacer.options import DownloadOptions
from refacer.weights.registry import Licence, Weight

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:  # so that tests.weights.writers is found wherever pytest was started
    sys.path.insert(0, ROOT)

DATA = np.random.default_rng(0).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(DATA).hexdigest()
TERMS = Licence("Test licence", "https://example.invalid/licence", "For tests.")


@dataclass
class Site:
    """What the server does next, by path (a tuple of a name and numbers), else 'good'; and what it was asked."""

    address: str = ""
    data: bytes = DATA
    tag: str = '"one"'
    plans: dict[str, deque[tuple]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/file", *plan: tuple) -> str:
        """The address of a path, whose next answers are `plan`."""
        self.plans[path] = deque(plan)
        return f"{self.address}{path}"

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [span for _, span in self.asked]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        """Quiet."""

    def do_GET(self):
        site: Site = self.server.site  # type: ignore[attr-defined]
        span = self.headers.get("Range")
        site.asked.append((self.path, span))
        plans = site.plans.get(self.path)
        name, *values = plans.popleft() if plans else ("good",)
        self.close_connection = True
        getattr(self, f"answer_{name}")(site, span, *values)

    def first(self, site: Site, span: str | None) -> int:
        """Where to start: a Range counts only for the version that If-Range names."""
        if not span or self.headers.get("If-Range", site.tag) != site.tag:
            return 0
        return int(span.removeprefix("bytes=").removesuffix("-"))

    def head(self, site: Site, first: int, length: int | None = None, **more: str) -> None:
        self.send_response(206 if first else 200)
        total = len(site.data)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        headers = {"Content-Length": str(total - first if length is None else length), "ETag": site.tag, **more}
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def answer_good(self, site, span):
        first = self.first(site, span)
        if first >= len(site.data):
            return self.answer_status(site, span, 416)
        self.head(site, first)
        self.wfile.write(site.data[first:])

    def answer_no_range(self, site, _span):
        self.head(site, 0)
        self.wfile.write(site.data)

    def answer_truncate(self, site, span, count):
        first = self.first(site, span)
        self.head(site, first)
        self.wfile.write(site.data[first : first + count])

    def answer_stall(self, site, span, count):
        self.answer_truncate(site, span, count)
        self.wfile.flush()
        site.released.wait(20)

    def answer_drip(self, site, span):
        """A byte now and then, for ever."""
        first = self.first(site, span)
        self.head(site, first)
        while not site.released.wait(0.02):
            self.wfile.write(site.data[first : first + 1])
            first += 1

    def answer_flip(self, site, span):
        first = self.first(site, span)
        self.head(site, first)
        bad = bytearray(site.data[first:])
        bad[len(bad) // 2] ^= 1
        self.wfile.write(bad)

    def answer_claim(self, site, span, length):
        self.head(site, self.first(site, span), length)
        self.wfile.write(site.data[self.first(site, span) :])

    def answer_elsewhere(self, site, _span):
        """A partial answer that starts where nobody asked."""
        self.head(site, 7)
        self.wfile.write(site.data[7:])

    def answer_loop(self, site, _span):
        site.plans[self.path].append(("loop",))  # first, for the next request may be here before this answer has ended
        self.send_response(302)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_status(self, _site, _span, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_die(self, _site, _span):
        self.connection.close()

    def answer_page(self, _site, _span):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"<html>too many downloads</html>")


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    """A running server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.site = site = Site(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield site
    site.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty place for weights."""
    monkeypatch.setenv("REFACER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def impatient() -> DownloadOptions:
    return DownloadOptions(timeout_s=0.3, attempts=3, backoff_s=0, block_bytes=10_000, spare_bytes=0)


@pytest.fixture
def published() -> Callable[..., Weight]:
    """A function: URLs -> the entry of the server's file, fields changed as said."""

    def entry(*urls: str, **changed) -> Weight:
        known = {"bytes": len(DATA), "sha256": SHA256, "urls": urls, **changed}
        return Weight("thing", "metric", "thing.bin", "test", TERMS, "yes", "tests", **known)

    return entry
