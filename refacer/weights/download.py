"""Downloads that go on where they stopped: mirrors, retries, disk space, and a hash before anybody sees the file.

pooch was looked at: it starts again after an interruption. Only the transfer is ours, over the standard
library.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from refacer import __version__
from refacer.errors import InputRefused, OutputNotWritable, WeightsMissing
from refacer.options import DownloadOptions
from refacer.weights.hashes import sha256_of
from refacer.weights.registry import Weight

Transfer = Callable[[int, int | None], None]
"""Called with (bytes here, bytes in all or None)."""

TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which it may help to ask again."""

RANGE_REFUSED = 416
PARTIAL = 206


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
    return _Download(weight, part, options or DownloadOptions(), told).run()


def discard(part: Path) -> None:
    """Forget a download that was begun."""
    for path in (part, _note_of(part)):
        path.unlink(missing_ok=True)


@dataclass
class _Download:
    """One weight's way onto the disk."""

    weight: Weight
    part: Path
    options: DownloadOptions
    told: Transfer | None
    reasons: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def run(self) -> str:
        """Go round the mirrors until one has given the whole file, or none is left to ask."""
        mirrors, failures = deque(self.weight.urls), 0
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
        raise self._failure()

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
            if self.size == 0 or self.size != self.weight.bytes:
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
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", error)  # urllib wraps what the system said
            raise _TryAgainError(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__) from error

    def _offset(self, url: str) -> int:
        """Where to go on: without a published hash only within one version of one mirror's file."""
        same = bool(self._validator(url))
        return self.size if self.weight.sha256 or same else 0

    def _validator(self, url: str) -> str:
        """What the mirror called this version of the file, if the bytes here are its."""
        try:
            note = json.loads(_note_of(self.part).read_text())
            return str(note["validator"]) if note["url"] == url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _open(self, url: str, offset: int) -> HTTPResponse:
        headers = {"User-Agent": f"refacer/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if validator := self._validator(url):
                headers["If-Range"] = validator
        opener = build_opener(_Redirects)
        return opener.open(Request(url, headers=headers), timeout=self.options.timeout_s)

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
        if total and self.weight.bytes and total != self.weight.bytes:
            raise _LeaveMirrorError(f"it offers {total} bytes, the published file has {self.weight.bytes}")
        if total and total > self.options.max_bytes:
            raise _LeaveMirrorError(f"it offers {total} bytes, more than any known weight has")
        self._require_room((total or self.weight.bytes or 0), offset)
        return total or self.weight.bytes

    def _require_room(self, total: int, offset: int) -> None:
        """The file itself and what it is converted into must fit."""
        free = _on_disk(self.part, shutil.disk_usage, self.part.parent).free
        needed = 2 * total - offset + self.options.spare_bytes
        if free < needed:
            raise OutputNotWritable(
                f"{self.part.parent}: {self.weight.name} needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
                "make room, or name another place with REFACER_HOME"
            )

    def _remember(self, url: str, headers: Message) -> None:
        """Note the version of the file whose bytes follow; a weak ETag does not tell versions apart."""
        tag = headers.get("ETag", "")
        validator = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        _on_disk(self.part, _note_of(self.part).write_text, json.dumps({"url": url, "validator": validator}))

    def _pour(self, response: HTTPResponse, offset: int, total: int | None) -> None:
        """Append the body; raises where it is shorter or longer than it should be, or comes too slowly."""
        pace = _Pace(self.options, offset)
        with _Writer(self.part, offset) as writer:
            while block := response.read1(self.options.block_bytes):
                writer.write(block)
                if writer.size > (total or self.options.max_bytes):
                    raise _LeaveMirrorError("it sends more than the file has")
                if self.told:
                    self.told(writer.size, total)
                pace.require(writer.size)
        if total is not None and writer.size < total:
            raise _TryAgainError(f"the connection ended after {writer.size} of {total} bytes")

    def _checked(self) -> str:
        """The sha256 of what is here; raises where it is not the published one."""
        digest = sha256_of(self.part) if self.part.exists() else ""
        if not digest or (self.weight.sha256 and digest != self.weight.sha256):
            raise _WrongBytesError(f"what it sent is not the published file (sha256 {digest[:12]}…)")
        return digest

    def _failure(self) -> InputRefused | WeightsMissing:
        """The last word of every mirror, and what to do by hand."""
        name = self.weight.name
        said = "; ".join(f"{urlsplit(url).hostname}: {reason}" for url, reason in self.reasons.items())
        by_hand = f"get {self.weight.urls[0]} by other means and `refacer weights import FILE --as {name}`"
        if self.wrong:
            return InputRefused(f"{name}: every download was another file than the published one ({said}); {by_hand}")
        return WeightsMissing(f"{name}: not downloaded ({said}); run the same command again to go on, or {by_hand}")


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


class _Writer:
    """The part file, cut to `offset` and appended to."""

    def __init__(self, path: Path, offset: int) -> None:
        self.path, self.size = path, offset
        self._file: Any = _on_disk(path, path.open, "r+b" if path.exists() else "w+b")
        _on_disk(path, self._file.seek, offset)
        _on_disk(path, self._file.truncate)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        _on_disk(self.path, self._file.close)

    def write(self, block: bytes) -> None:
        """Append a block; it is the file's when this returns, so that a killed process loses nothing it told of."""
        _on_disk(self.path, self._file.write, block)
        _on_disk(self.path, self._file.flush)
        self.size += len(block)


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, but never from https to http."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """The request that follows; raises HTTPError where it would leave https."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise HTTPError(req.full_url, code, f"redirect to {newurl}, which is not https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _on_disk(path: Path, call: Callable[..., Any], *args: Any) -> Any:
    """The result of a call; its OSError becomes OutputNotWritable."""
    try:
        return call(*args)
    except OSError as error:
        raise OutputNotWritable(
            f"{path}: cannot be written ({error.strerror}); name another place with REFACER_HOME"
        ) from error


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _starts_at(headers: Message) -> int:
    """The first byte of a partial answer, -1 where it does not say."""
    unit, _, span = headers.get("Content-Range", "").partition(" ")
    first = span.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdigit() else -1
