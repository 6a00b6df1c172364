"""Downloads that go on where they stopped: mirrors, retries, disk space, and a hash before anybody sees the file.

`download` is for weights, `download_file` for any file. They use the standard library: pooch starts again after an
interruption.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from refacer import __version__
from refacer.errors import InputRefused, OutputNotWritable, WeightsMissing
from refacer.files.json_text import parse_json
from refacer.options import DownloadOptions
from refacer.weights.registry import Weight, sha256_of

Transfer = Callable[[int, int | None], None]
"""Called with (bytes here, bytes in all or None)."""

TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which it may help to ask again."""

RANGE_REFUSED = 416
PARTIAL = 206

URL_LETTERS = "%/:=&?~#+!$,;'@()*[]"
"""What stands in an address as it is; blanks and letters beyond ASCII are escaped."""


@dataclass(frozen=True)
class Wanted:
    """A file on the network: its name in messages, the addresses that give it, what is known of its bytes.

    elsewhere: what helps where the disk does not suffice.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None = None
    bytes: int | None = None
    elsewhere: str = "name another place with REFACER_HOME"


class NotDownloadedError(Exception):
    """No address gives the file. reasons: the last one of each address; wrong: whether whole other files arrived."""

    def __init__(self, reasons: Mapping[str, str], *, wrong: bool) -> None:
        super().__init__("; ".join(f"{url}: {reason}" for url, reason in reasons.items()))
        self.reasons, self.wrong = reasons, wrong


class _LeaveMirrorError(Exception):
    """This mirror will not give the file; asking again is no use."""


class _TryAgainError(Exception):
    """The transfer broke; the next attempt may succeed."""


class _WrongBytesError(Exception):
    """A whole file arrived and is not the published one."""


def download(weight: Weight, part: Path, options: DownloadOptions | None = None, told: Transfer | None = None) -> str:
    """Fill `part` with the weight's published file, going on with what it holds; returns its sha256.

    Beside it lies `part`.json: where the bytes came from. Raises InputRefused where all that arrives is another file,
    WeightsMissing where nothing does, OutputNotWritable where the disk does not suffice.
    """
    name = weight.name
    try:
        wanted = Wanted(name, tuple(weight.urls), weight.sha256, weight.bytes)
        return download_file(wanted, part, options or DownloadOptions(), told)
    except NotDownloadedError as failure:
        said = "; ".join(f"{urlsplit(url).hostname}: {reason}" for url, reason in failure.reasons.items())
        by_hand = f"get {weight.urls[0]} by other means and `refacer weights import FILE --as {name}`"
        if failure.wrong:
            reason = f"every download was another file than the published one ({said})"
            raise InputRefused(f"{name}: {reason}; {by_hand}") from failure
        reason = f"not downloaded ({said})"
        raise WeightsMissing(f"{name}: {reason}; run the same command again to go on, or {by_hand}") from failure


def download_file(wanted: Wanted, part: Path, options: DownloadOptions, told: Transfer | None = None) -> str:
    """Fill `part` with a file from http or https, going on with what it holds; returns its sha256.

    Raises NotDownloadedError where no address gives it, OutputNotWritable where the disk does not suffice.
    """
    return _Download(wanted, part, options, told).run()


def discard(part: Path) -> None:
    """Forget a download that was begun."""
    for path in (part, _note_of(part)):
        path.unlink(missing_ok=True)


@dataclass
class _Download:
    """One file's way onto the disk."""

    wanted: Wanted
    part: Path
    options: DownloadOptions
    told: Transfer | None
    reasons: dict[str, str] = field(default_factory=dict)  # by address, the last one
    wrong: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Go round the mirrors until one has given the whole file, or none is left to ask."""
        mirrors, failures = deque(self.wanted.urls), 0
        while failures < self.options.attempts * len(mirrors):
            url, before = mirrors[0], self.size
            try:
                return self._attempt(url)
            except _LeaveMirrorError as refusal:
                self.reasons[url] = str(refusal)
                mirrors.popleft()
                continue
            except _TryAgainError as broken:
                self.reasons[url] = str(broken)
            mirrors.rotate(-1)
            failures += self.size - before < self.options.progress_bytes
            self._wait(*divmod(failures, len(mirrors)))
        raise NotDownloadedError(self.reasons, wrong=bool(self.wrong))

    def _wait(self, rounds: int, asked: int) -> None:
        """Pause before the next round of all mirrors, longer each time; not within a round, nor after the last."""
        if not asked and rounds < self.options.attempts:
            time.sleep(min(self.options.backoff_s * 2 ** max(rounds - 1, 0), self.options.backoff_max_s))

    @property
    def size(self) -> int:
        """Bytes here so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> str:
        """One transfer and its check; a second wrong file from the same mirror is its last."""
        try:
            if self.size == 0 or self.size != self.wanted.bytes:
                self._transfer(url)
            return self._checked()
        except _WrongBytesError as error:
            discard(self.part)
            self.wrong.append(url)
            raise (_LeaveMirrorError if self.wrong.count(url) > 1 else _TryAgainError)(str(error)) from error

    def _transfer(self, url: str) -> None:
        """Fetch what is missing; the network's errors become those of a mirror."""
        offset = self._offset(url)
        try:
            with self._open(url, offset) as response:
                offset = offset if response.status == PARTIAL and _starts_at(response.headers) == offset else 0
                if response.status == PARTIAL and not offset:
                    discard(self.part)
                    raise _TryAgainError("it sends another part of the file than was asked for")
                total = self._accepted(response, offset)
                self._remember(url, response.headers)
                self._pour(response, offset, total)
        except HTTPError as error:
            self._refused(error)
        except ValueError as error:  # an address that is none
            raise _LeaveMirrorError(str(error)) from error
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)  # urllib wraps what the system said
            raise _TryAgainError(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__) from error

    def _offset(self, url: str) -> int:
        """Where to go on: without a published hash only within one version of one mirror's file."""
        same = bool(self._validator(url))
        return self.size if self.wanted.sha256 or same else 0

    def _validator(self, url: str) -> str:
        """What the mirror called this version of the file, if the bytes here are its."""
        try:
            note = parse_json(_note_of(self.part).read_bytes())
            return str(note["validator"]) if note["url"] == url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _open(self, url: str, offset: int) -> HTTPResponse:
        headers = {"User-Agent": f"refacer/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator := self._validator(url):
                headers["If-Range"] = validator
        opener = OpenerDirector()
        for handler in HANDLERS:
            opener.add_handler(handler())
        return opener.open(Request(quote(url, safe=URL_LETTERS), headers=headers), timeout=self.options.timeout_s)

    def _refused(self, error: HTTPError) -> None:
        """An answer of 400 or more, or a redirect that leads nowhere."""
        error.close()
        if error.code == RANGE_REFUSED and self.size:
            return  # nothing is left to send: the check tells whether that is so
        kind = _TryAgainError if error.code in TRANSIENT else _LeaveMirrorError
        raise kind(f"it answers {error.code} {error.reason}".splitlines()[0]) from error

    def _accepted(self, response: HTTPResponse, offset: int) -> int | None:
        """Length of the whole file as the mirror says it; raises where it cannot be the one we want."""
        headers = response.headers
        if headers.get_content_type() == "text/html":
            raise _LeaveMirrorError("it sends a web page in place of the file")
        length = headers.get("Content-Length", "")
        total = offset + int(length) if length.isdigit() else None
        if total and self.wanted.bytes and total != self.wanted.bytes:
            raise _LeaveMirrorError(f"it offers {total} bytes, the published file has {self.wanted.bytes}")
        if total and total > self.options.max_bytes:
            raise _LeaveMirrorError(f"it offers {total} bytes, which is {self._too_much()}")
        self._require_room((total or self.wanted.bytes or 0), offset)
        return total or self.wanted.bytes

    def _too_much(self) -> str:
        return f"more than {self.options.max_bytes // 1024**2} MiB"

    def _require_room(self, total: int, offset: int) -> None:
        """The file itself and what it is converted into must fit."""
        free = self._on_disk(shutil.disk_usage, self.part.parent).free
        needed = 2 * total - offset + self.options.spare_bytes
        if free < needed:
            raise OutputNotWritable(
                f"{self.part.parent}: {self.wanted.name} needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
                f"make room, or {self.wanted.elsewhere}"
            )

    def _remember(self, url: str, headers: Message) -> None:
        """Note the version of the file whose bytes follow; a weak ETag does not tell versions apart."""
        tag = headers.get("ETag", "")
        validator = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        self._on_disk(_note_of(self.part).write_text, json.dumps({"url": url, "validator": validator}))

    def _pour(self, response: HTTPResponse, offset: int, total: int | None) -> None:
        """Append the body; raises where it is shorter or longer than it should be, or comes too slowly."""
        pace = _Pace(self.options, offset)
        size = offset
        with self._appending(offset) as file:
            while block := response.read1(self.options.block_bytes):
                self._on_disk(file.write, block)
                self._on_disk(file.flush)  # so that a killed process loses nothing it told of
                size += len(block)
                if size > (total or self.options.max_bytes):
                    raise _LeaveMirrorError(f"it sends {'more than the file has' if total else self._too_much()}")
                if self.told:
                    self.told(size, total)
                pace.require(size)
        if total is not None and size < total:
            raise _TryAgainError(f"the connection ended after {size} of {total} bytes")

    @contextmanager
    def _appending(self, offset: int) -> Iterator[BinaryIO]:
        """The part file, cut to `offset`, open for more."""
        file = self._on_disk(self.part.open, "r+b" if self.part.exists() else "w+b")
        try:
            self._on_disk(file.seek, offset)
            self._on_disk(file.truncate)
            yield file
        finally:
            self._on_disk(file.close)

    def _on_disk(self, call: Callable[..., Any], *args: Any) -> Any:
        """The result of a call; its OSError becomes OutputNotWritable."""
        try:
            return call(*args)
        except OSError as error:
            raise OutputNotWritable(
                f"{self.part}: cannot be written ({error.strerror}); {self.wanted.elsewhere}"
            ) from error

    def _checked(self) -> str:
        """The sha256 of what is here; raises where it is not the published one."""
        digest = sha256_of(self.part) if self.part.exists() else ""
        if not digest or (self.wanted.sha256 and digest != self.wanted.sha256):
            raise _WrongBytesError(f"what it sent is not the published file (sha256 {digest[:12]}…)")
        return digest


class _Pace:
    """Whether a transfer is worth waiting for: a byte now and then keeps a connection alive for ever."""

    def __init__(self, options: DownloadOptions, size: int) -> None:
        self.options, self.since, self.size = options, time.monotonic(), size

    def require(self, size: int) -> None:
        """Raise where too little has come since the last look, one timeout ago."""
        now = time.monotonic()
        if now - self.since < self.options.timeout_s:
            return
        if size - self.size < self.options.min_bytes_s * (now - self.since):
            raise _TryAgainError(f"it sends less than {self.options.min_bytes_s} bytes a second")
        self.since, self.size = now, size


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, but never from https to http."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """The request that follows; raises HTTPError where it would leave https."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise HTTPError(req.full_url, code, f"redirect to {newurl}, which is not https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


HANDLERS = (
    ProxyHandler,
    UnknownHandler,
    HTTPHandler,
    HTTPSHandler,
    _Redirects,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
)
"""No file:, ftp: or data:, neither as an address nor behind a redirect."""


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _starts_at(headers: Message) -> int:
    """The first byte of a partial answer, -1 where it does not say."""
    unit, _, span = headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else -1
