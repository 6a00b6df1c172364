"""Installing: one download for many pulls, and never a bad file in sight, whenever the process is killed."""

import hashlib
import json
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import refacer
from refacer.errors import InputRefused, UsageError, WeightsMissing
from refacer.weights import bases, cache, convert, install
from refacer.weights.convert import GENERATOR_FILE, Converted


@pytest.fixture(autouse=True)
def converter(home, monkeypatch):
    """A converter that needs no network: the file's bytes reversed."""

    def reverse(path, kind=None):
        data = Path(path).read_bytes()
        if data.startswith(b"bad"):
            raise InputRefused(f"{path}: not a weight file")
        return Converted(kind or "test", {"network.safetensors": data[::-1]}, ("reversed",))

    monkeypatch.setattr(convert, "convert", reverse)


def visible(home) -> list[str]:
    return sorted(path.name for path in (home / "weights").glob("*") if not path.name.startswith("."))


def test_a_pull_leaves_the_converted_file_and_its_record(site, published, home, impatient):
    weight = published(site.url())
    made = install.pull(weight, options=impatient)
    assert made.path("network.safetensors").read_bytes() == site.data[::-1]
    assert (made.record.source_sha256, made.record.source_bytes) == (weight.sha256, len(site.data))
    assert (made.record.origin, made.record.notes) == (weight.urls[0], ("reversed",))
    assert made.record.files.keys() == {"network.safetensors"}
    assert cache.installed("thing") == made
    assert cache.all_installed() == [made]
    assert cache.owner_of(hashlib.sha256(site.data[::-1]).hexdigest()) == made
    assert not list((home / "downloads").iterdir())
    assert str(home) not in (made.folder / "record.json").read_text()


def test_a_generator_gets_its_pair_json_and_the_record_knows_it(site, published, impatient, monkeypatch):
    monkeypatch.setattr(convert, "convert", lambda path, kind: Converted("test", {GENERATOR_FILE: b"g"}, ()))
    monkeypatch.setattr(
        bases, "encode_base_pair", lambda name, files: {"pair.json": name.encode() + files[GENERATOR_FILE]}
    )
    made = install.pull(published(site.url()), options=impatient)
    assert made.path("pair.json").read_bytes() == b"thingg"
    assert made.record.files.keys() == {GENERATOR_FILE, "pair.json"}


def test_force_pulls_again_and_replaces(site, published, impatient):
    weight = published(site.url(), sha256=None, bytes=None)
    install.pull(weight, options=impatient)
    site.data = site.data[::-1]
    assert install.pull(weight, options=impatient).record.source_sha256 == published().sha256
    assert len(site.asked) == 1
    made = install.pull(weight, options=impatient, force=True)
    assert made.path("network.safetensors").read_bytes() == site.data[::-1]
    assert len(site.asked) == 2


def test_a_file_without_a_published_hash_must_stay_the_same(site, published, home, impatient):
    weight = published(site.url(), sha256=None, bytes=None)
    install.pull(weight, options=impatient)
    assert cache.remove("thing") > len(site.data)
    site.data = site.data[::-1]
    with pytest.raises(InputRefused, match="first installed here"):
        install.pull(weight, options=impatient)
    assert visible(home) == []
    install.pull(weight, options=impatient, force=True)
    assert cache.first_seen("thing") == hashlib.sha256(site.data).hexdigest()


def test_what_cannot_be_converted_is_never_installed(site, published, home, impatient):
    site.data = b"bad" + site.data
    with pytest.raises(InputRefused, match="not a weight file"):
        install.pull(published(site.url(), sha256=None, bytes=None), options=impatient)
    assert visible(home) == []
    assert not list((home / "downloads").iterdir())


def test_a_removed_weight_leaves_no_trace(site, published, home, impatient):
    install.pull(published(site.url()), options=impatient)
    for name in (".thing.new", ".thing.old"):
        (home / "weights" / name).mkdir()
        (home / "weights" / name / "network.safetensors").write_bytes(bytes(100))
    for name in ("thing.part", "thing.part.json", "other.part"):
        (home / "downloads" / name).write_bytes(bytes(100))
    assert cache.remove("thing") > len(site.data) + 400
    assert not list((home / "weights").iterdir())
    assert [path.name for path in (home / "downloads").iterdir()] == ["other.part"]
    assert cache.traces("thing") == []


@pytest.mark.parametrize("record", ["", "{}", "[]", "null", '{"format": 1}', '{"format": 1, "name": "other"}'])
def test_a_weight_without_a_readable_record_is_not_installed(site, published, home, impatient, record):
    made = install.pull(published(site.url()), options=impatient)
    (made.folder / "record.json").write_text(record)
    assert cache.installed("thing") is None
    assert cache.folders() == ["thing"]
    assert install.pull(published(site.url()), options=impatient) == made


def test_a_damaged_file_is_refused_when_it_is_used(site, published, impatient):
    made = install.pull(published(site.url()), options=impatient)
    (made.folder / "network.safetensors").write_bytes(b"other")
    assert made.damaged() == ["network.safetensors"]
    with pytest.raises(InputRefused, match="import FILE --as thing --force"):  # the registry has no such weight
        made.path("network.safetensors")


def test_a_packaged_weight_is_not_downloaded(site, published):
    with pytest.raises(WeightsMissing, match="pip install some-package"):
        install.pull(published(site.url(), package="some-package"))
    assert site.asked == []


@pytest.fixture
def known(published, monkeypatch):
    """The registry holds the server's file, an archive of it, and nothing else."""
    entries = (published(), replace(published(), name="packed", member="inside/thing.bin", sha256=None))
    monkeypatch.setattr(install.registry, "weights", lambda: entries)
    return entries


def test_an_import_is_recognised_by_its_hash(site, known, tmp_path):
    path = tmp_path / "any-name"
    path.write_bytes(site.data)
    made = install.import_file(path, None)
    assert (made.record.name, made.record.origin) == ("thing", "import")
    with pytest.raises(UsageError, match="--force"):
        install.import_file(path, "thing")
    install.import_file(path, "thing", force=True)


def test_an_import_that_is_not_what_it_is_called(known, tmp_path, home):
    path = tmp_path / "file"
    path.write_bytes(b"something else")
    with pytest.raises(InputRefused, match=r"not the published thing\.bin"):
        install.import_file(path, "thing")
    with pytest.raises(UsageError, match="--as NAME"):
        install.import_file(path, None)
    with pytest.raises(UsageError, match="not a name"):
        install.import_file(path, "../thing")
    assert visible(home) == []
    assert install.import_file(path, "mine").record.kind == "test"


def test_one_member_of_an_archive_is_taken(site, known, tmp_path, monkeypatch):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/other.bin", b"bad")
        archive.writestr("top/inside/thing.bin", site.data)
    made = install.import_file(path, "packed")
    assert made.path("network.safetensors").read_bytes() == site.data[::-1]
    data = bytearray(path.read_bytes())
    data[data.index(site.data[:50])] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputRefused, match="damaged or encrypted archive"):
        install.import_file(path, "packed", force=True)
    locked = data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")  # says: encrypted
    assert locked != data
    path.write_bytes(locked)
    with pytest.raises(InputRefused, match="encrypted"):
        install.import_file(path, "packed", force=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("top/other.bin", b"bad")
    with pytest.raises(InputRefused, match="holds no inside"):
        install.import_file(path, "packed", force=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/inside/thing.bin", bytes(100_000))
    monkeypatch.setattr(install, "MAX_MEMBER_BYTES", 99_999)
    with pytest.raises(InputRefused, match="larger than any known weight"):
        install.import_file(path, "packed", force=True)
    assert made.damaged() == []


PULL = """
import json, os, sys, types
from pathlib import Path

def say(what):
    print(what, flush=True)

def converter(path, kind=None):
    say("converting")
    sys.stdin.readline() if stage == "convert" else None
    files = {"a.safetensors": Path(path).read_bytes()[::-1], "b.safetensors": b"b"}
    return types.SimpleNamespace(kind="test", files=files, notes=())

fake = types.SimpleNamespace(convert=converter, GENERATOR_FILE="generator.safetensors")
sys.modules["refacer.weights.convert"] = fake
from refacer.options import DownloadOptions
from refacer.weights import cache, install
from refacer.weights.registry import Licence, Weight

stage, fields = sys.argv[1], json.loads(sys.argv[2])
rename = Path.rename

def slow_rename(path, target):
    say("renaming")
    sys.stdin.readline() if stage == "rename" else None
    return rename(path, target)

Path.rename = slow_rename
terms = Licence("t", "u", "v")
weight = Weight("thing", "metric", "thing.bin", "test", terms, "yes", "tests", **fields)
options = DownloadOptions(timeout_s=20, attempts=1, backoff_s=0, block_bytes=10_000, spare_bytes=0)
install.pull(weight, options=options, told=lambda done, total: say(done))
say("installed")
"""


@pytest.fixture
def pulling(published, site, home):
    """A function: where to pause -> a process that pulls."""

    def start(stage: str) -> subprocess.Popen[str]:
        fields = {"urls": [site.url("/file", *([("stall", 120_000)] if stage == "download" else []))]}
        fields |= {"bytes": len(site.data), "sha256": published().sha256}
        command = [sys.executable, "-c", PULL, stage, json.dumps(fields)]
        root = Path(refacer.__file__).parents[1]
        return subprocess.Popen(command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    return start


def test_eight_pulls_at_once_make_one_download(pulling, site, home):
    processes = [pulling("together") for _ in range(8)]
    said = [process.communicate()[0].split() for process in processes]
    assert [words[-1] for words in said] == ["installed"] * 8
    assert sum("converting" in words for words in said) == 1
    assert site.ranges == [None]
    assert visible(home) == ["thing"]


@pytest.mark.parametrize(
    ("stage", "until", "later"),
    [("download", "120000", "bytes=120000-"), ("convert", "converting", None), ("rename", "renaming", None)],
)
def test_a_killed_pull_leaves_nothing_in_sight_and_the_next_completes_it(
    pulling, site, published, home, impatient, stage, until, later
):
    with pulling(stage) as process:
        for line in process.stdout:
            if line.strip() == until:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert visible(home) == []
    assert cache.all_installed() == []
    asked = len(site.asked)
    made = install.pull(published(site.url()), options=impatient)
    assert site.ranges[asked:] == ([later] if later else [])
    assert made.damaged() == []
    assert visible(home) == ["thing"]
    assert not [path for path in (home / "weights").iterdir() if path.name.startswith(".")]
