"""Downloads from a server in this process."""

import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from refacer.datasets.downloads import fetch, gather
from refacer.errors import InputRefused
from refacer.options import DownloadOptions

PICTURE = bytes(range(256)) * 40
QUICK = DownloadOptions(attempts=3, backoff_s=0, timeout_s=5, max_bytes=1024**2)


class Handler(BaseHTTPRequestHandler):
    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self):
        self.asked[self.path] += 1
        name = self.path.strip("/")
        if name == "missing":
            return self.send_error(404)
        if name == "busy" and self.asked[self.path] < 3:
            return self.send_error(503)
        if name == "elsewhere":
            return self.answer(302, Location="/picture")
        if name == "trap":
            return self.answer(302, Location="file:///etc/hostname")
        if name == "torn" and self.asked[self.path] < 2:
            return self.answer(200, PICTURE[:100], Length=len(PICTURE))
        if name == "claims":
            return self.answer(200, PICTURE, Length=2 * 1024**2)
        if name == "endless":
            return self.answer(200, bytes(1024**2 + 1), Length=None)
        return self.answer(200, PICTURE)

    def answer(self, code: int, data: bytes = b"", Length: int | None = -1, **headers: str) -> None:  # noqa: N803
        self.send_response(code)
        if Length is not None:
            self.send_header("Content-Length", str(len(data) if Length == -1 else Length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.asked = Counter()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(("name", "asked"), [("picture", 1), ("a name with blanks", 1), ("busy", 3), ("torn", 2)])
def test_a_picture_is_fetched_with_patience_and_once(server, tmp_path, name, asked):
    url = f"{server}/{name}"
    assert fetch(url, tmp_path / "kept", QUICK) == PICTURE
    assert fetch(url, tmp_path / "kept", QUICK) == PICTURE
    assert list(Handler.asked.values()) == [asked]
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_redirect_is_followed(server, tmp_path):
    assert fetch(f"{server}/elsewhere", tmp_path, QUICK) == PICTURE


@pytest.mark.parametrize(
    ("name", "says", "asked"),
    [
        ("missing", "404", 1),
        ("claims", "more than 1 MiB", 1),
        ("endless", "more than 1 MiB", 1),
        ("trap", "not downloaded", 1),
    ],
)
def test_what_cannot_be_fetched_is_refused(server, tmp_path, name, says, asked):
    with pytest.raises(InputRefused, match=says):
        fetch(f"{server}/{name}", tmp_path, QUICK)
    assert Handler.asked[f"/{name}"] >= asked
    assert not list(tmp_path.iterdir())


def test_a_server_that_stays_busy_is_given_up(server, tmp_path):
    with pytest.raises(InputRefused, match="503"):
        fetch(f"{server}/busy", tmp_path, DownloadOptions(attempts=2, backoff_s=0))


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://localhost/a.png", "a.png", "http://[bad"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(InputRefused, match=r"mend the list|not downloaded"):
        fetch(url, tmp_path, QUICK)


def test_all_sources_are_gathered_and_damage_to_one_stops_nothing(tmp_path):
    folder, urls = tmp_path / "renders", ["http://a/1.png", "http://a/2.png"]
    for name in ("b.png", "a.jpg", ".hidden.png", "__MACOSX/a.png", "set/faces/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "again.png").symlink_to("b.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("z.png", b"")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-9])
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    sources = [folder, folder / "b.png", tmp_path / "a.zip", tmp_path / "cut.zip", tmp_path / "urls.txt"]
    gathered = gather(sources, skip=folder / "set", offline=False)
    names = [f"{tmp_path}/a.zip::z.png", f"{folder}/a.jpg", f"{folder}/b.png"]
    assert [item.name for item in gathered.items] == sorted([*names, *urls])
    ((name, error),) = gathered.refused
    assert name == str(tmp_path / "cut.zip")
    assert "damaged" in str(error)
