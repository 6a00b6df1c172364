"""Pictures that are given as URLs: a list of them in a text file, each downloaded once with the standard library."""

from __future__ import annotations

import hashlib
import time
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
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
from refacer.errors import InputRefused
from refacer.files import read_bytes, write_atomic
from refacer.options import FetchOptions
from refacer.weights.download import TRANSIENT

HANDLERS = (
    ProxyHandler, UnknownHandler, HTTPHandler, HTTPSHandler, HTTPRedirectHandler, HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
)  # fmt: skip
"""No file:, ftp: or data:, neither in a list nor behind a redirect."""


def read_url_list(path: Path) -> list[str]:
    """The lines of a text file, each once, without empty ones and those that begin with #; raises InputRefused."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputRefused(f"{path}: not a text file; give a list of URLs, one a line") from error
    lines = (line.strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))


def fetch(url: str, folder: Path, options: FetchOptions) -> bytes:
    """The picture behind a URL, from `folder` where it has been fetched before; raises InputRefused."""
    kept = folder / hashlib.sha256(url.encode()).hexdigest()[:32]
    if kept.is_file():
        return kept.read_bytes()
    data = _fetched(url, options)
    write_atomic(kept, data)
    return data


def _fetched(url: str, options: FetchOptions) -> bytes:
    """Ask until there is an answer, or for as often as is allowed."""
    if not url.lower().startswith(("http://", "https://")):
        raise InputRefused(f"{url}: not an http or https address; mend the list")
    reason = ""
    for attempt in range(options.attempts):
        if attempt:
            time.sleep(options.wait_s * 2 ** (attempt - 1))
        try:
            return _once(url, options)
        except HTTPError as error:
            error.close()
            reason = f"the server answers {error.code} {error.reason}"
            if error.code not in TRANSIENT:
                break
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
    raise InputRefused(f"{url}: not downloaded ({reason}); run the same command again, or take it off the list")


def _once(url: str, options: FetchOptions) -> bytes:
    """One attempt; raises InputRefused for too much, OSError for too little."""
    request = Request(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": f"refacer/{__version__}"})
    opener = OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    with opener.open(request, timeout=options.timeout_s) as response:
        return _body(url, response, options.max_bytes)


def _body(url: str, response: HTTPResponse, max_bytes: int) -> bytes:
    length = response.headers.get("Content-Length", "")
    expected = int(length) if length.isdigit() else None
    data = b"" if (expected or 0) > max_bytes else response.read(max_bytes + 1)
    if max(len(data), expected or 0) > max_bytes:
        raise InputRefused(f"{url}: more than {max_bytes // 1024**2} MiB; get it by other means")
    if expected is not None and len(data) < expected:
        raise ConnectionError(f"the connection ended after {len(data)} of {expected} bytes")
    return data
