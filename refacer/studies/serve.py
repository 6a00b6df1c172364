"""`refacer study serve`: show a study's page and collect votes; the standard library's server and nothing else.

A vote is on the disk (appended, fsync) before its page is told that it arrived. Pages send again what was not
confirmed, so that killing the server loses nothing; what came twice counts once.
"""

from __future__ import annotations

import os
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from refacer import console
from refacer.errors import OutputNotWritable
from refacer.files import read_bytes
from refacer.files.json_text import parse_json
from refacer.studies.design import PERSON, Design
from refacer.studies.folder import StudyFolder
from refacer.studies.page import collecting

MAX_BODY_BYTES = 256 * 1024
"""More than all answers of one person to a long study."""

TIMEOUT_S = 30.0
LINES = "application/x-ndjson"
"""A type that no form of another site can send without being asked for leave, which is never given."""


def serve_study(folder: Path, host: str, port: int, *, quiet: bool) -> None:
    """Serve until interrupted. Raises UsageError where there is no study, OutputNotWritable where the address cannot be
    had or votes cannot be written."""
    study = StudyFolder(folder)
    design = study.read().design
    page = collecting(read_bytes(study.page))
    with Ballot(study.votes) as ballot, listening(host, port, page, design, ballot) as server:
        if not quiet:
            name = f"[{host}]" if ":" in host else host
            console.note(f"http://{name}:{server.server_port}/ shows study {design.id}; votes go to {study.votes}")
            if host not in ("127.0.0.1", "::1", "localhost"):
                console.warn(f"--host {host}: others on the network can vote, without encryption")
        server.serve_forever()


class Ballot:
    """A file that only grows: each `cast` is on the disk when it returns. Raises OutputNotWritable."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab+", buffering=0)
            if self._cut():
                self._file.write(b"\n")  # what was cut stays, on a line of its own
        except OSError as error:
            raise OutputNotWritable(f"{path}: cannot be written ({error.strerror}); check its folder") from error

    def cast(self, lines: bytes) -> None:
        """Append whole lines; raises OSError."""
        with self._lock:
            rest = memoryview(lines)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())

    def _cut(self) -> bool:
        """Whether the last line has no end."""
        if not self._file.seek(0, os.SEEK_END):
            return False
        self._file.seek(-1, os.SEEK_END)
        return self._file.read(1) != b"\n"

    def __enter__(self) -> Ballot:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def listening(host: str, port: int, page: bytes, design: Design, ballot: Ballot) -> ThreadingHTTPServer:
    """A server that has its address and waits for `serve_forever`; raises OutputNotWritable where it gets none."""

    class Bound(_Handler):
        pass

    Bound.page, Bound.design, Bound.ballot = page, design, ballot
    try:
        server = ThreadingHTTPServer((host, port), Bound)
    except (OSError, OverflowError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise OutputNotWritable(f"{host}:{port}: cannot be listened at ({told}); choose another --port") from error
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    """GET / is the page, POST /votes takes lines of JSON; all else is refused."""

    page: bytes
    design: Design
    ballot: Ballot
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    server_version, sys_version = "refacer", ""

    def do_GET(self) -> None:
        """The page."""
        if urlsplit(self.path).path in ("/", "/index.html"):
            self._answer(HTTPStatus.OK, self.page, "text/html; charset=utf-8")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"not here\n")

    def do_HEAD(self) -> None:
        """The page's header."""
        self.do_GET()

    def do_POST(self) -> None:
        """Votes: stored whole, or refused whole."""
        length = self.headers.get("Content-Length", "")
        if urlsplit(self.path).path != "/votes":
            return self._refuse(HTTPStatus.NOT_FOUND, "votes go to /votes")
        if not self._from_here() or self.headers.get_content_type() != LINES:
            return self._refuse(HTTPStatus.FORBIDDEN, "votes come from this study's page")
        if not length.isdigit():
            return self._refuse(HTTPStatus.LENGTH_REQUIRED, "say how long it is")
        if int(length) > MAX_BODY_BYTES:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY_BYTES} bytes at once")
        body = self.rfile.read(int(length))
        lines = [line for line in body.split(b"\n") if line.strip()]
        if len(body) != int(length) or not lines or not all(map(self._is_vote, lines)):
            return self._refuse(HTTPStatus.BAD_REQUEST, "not votes of this study")
        try:
            self.ballot.cast(b"\n".join(lines) + b"\n")
        except OSError as error:
            console.warn(f"a vote could not be written ({error.strerror}); its page keeps it and sends it again")
            return self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, "not written; send it again")
        return self._answer(HTTPStatus.OK, b"")

    def _from_here(self) -> bool:
        """Whether the request was made by a page of this server, as far as a browser tells."""
        origin = self.headers.get("Origin")
        return origin is None or urlsplit(origin).netloc == self.headers.get("Host")

    def _is_vote(self, line: bytes) -> bool:
        """Whether a line is JSON that says it belongs to this study; `analyse` looks closer."""
        try:
            body: Any = parse_json(line)
        except ValueError:
            return False
        known = isinstance(body, dict) and body.get("study") == self.design.id
        return known and isinstance(body.get("person"), str) and PERSON.fullmatch(body["person"]) is not None

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # what was not read must not be taken for the next request
        self._answer(status, f"{why}\n".encode())

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: an address in a log would be personal data."""
