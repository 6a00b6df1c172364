"""Downloads against servers that truncate, stall, lie, loop and die: the whole file or none, and nothing twice."""

from collections import namedtuple

import pytest

from refacer.errors import InputRefused, OutputNotWritable, WeightsMissing
from refacer.weights import download as module
from refacer.weights.download import discard, download


@pytest.fixture
def part(tmp_path):
    return tmp_path / "thing.part"


def test_a_whole_file(site, published, part, impatient):
    steps = []
    digest = download(published(site.url()), part, impatient, lambda done, total: steps.append((done, total)))
    assert part.read_bytes() == site.data
    assert digest == published().sha256
    assert steps[-1] == (len(site.data), len(site.data))
    assert site.ranges == [None]


BROKEN = {
    "truncates": ([("truncate", 50_000), ("truncate", 30_000)], ["bytes=50000-", "bytes=80000-"]),
    "stalls": ([("stall", 70_000)], ["bytes=70000-"]),
    "drips": ([("truncate", 50_000), ("drip",)], ["bytes=50000-"]),
    "dies": ([("die",)], [None]),
    "answers 503": ([("status", 503), ("status", 503)], [None, None]),
    "ignores Range": ([("truncate", 50_000), ("no_range",)], ["bytes=50000-"]),
    "sends another part": ([("truncate", 50_000), ("elsewhere",)], ["bytes=50000-", None]),
    "flips a bit": ([("flip",)], [None]),
    "flips a bit in the rest": ([("truncate", 50_000), ("flip",)], ["bytes=50000-", None]),
    "claims too little": ([("truncate", 50_000), ("claim", 40_000)], ["bytes=50000-"]),
}


@pytest.mark.parametrize("plan", BROKEN.values(), ids=BROKEN)
def test_a_server_that_fails_at_first(site, published, part, impatient, plan):
    answers, later = plan
    known = {"bytes": None} if answers[-1][0] == "claim" else {}
    digest = download(published(site.url("/file", *answers), **known), part, impatient)
    assert part.read_bytes() == site.data
    assert digest == published().sha256
    assert site.ranges[1 : 1 + len(later)] == later


@pytest.mark.parametrize("answer", [("status", 404), ("page",), ("loop",), ("claim", 10**6), ("claim", 99)])
def test_a_mirror_that_has_something_else_is_left_at_once(site, published, part, impatient, answer):
    download(published(site.url("/bad", answer), site.url("/good")), part, impatient)
    assert part.read_bytes() == site.data
    assert [path for path, _ in site.asked if path == "/good"] == ["/good"]
    if answer[0] != "loop":
        assert len(site.asked) == 2


def test_a_mirror_goes_on_where_another_stopped(site, published, part, impatient):
    download(published(site.url("/one", ("truncate", 60_000)), site.url("/two")), part, impatient)
    assert part.read_bytes() == site.data
    assert site.asked == [("/one", None), ("/two", "bytes=60000-")]


def test_a_server_that_never_gives_the_file_ends_in_one_line(site, published, part, impatient):
    weight = published(site.url("/file", *[("status", 503)] * 9))
    with pytest.raises(WeightsMissing, match=r"127\.0\.0\.1: it answers 503.*import FILE --as thing"):
        download(weight, part, impatient)
    assert len(site.asked) == impatient.attempts


def test_what_arrived_is_kept_for_the_next_call(site, published, part, impatient):
    weight = published(site.url("/file", ("truncate", 50_000), ("die",), ("die",), ("die",)))
    with pytest.raises(WeightsMissing):
        download(weight, part, impatient)
    assert part.stat().st_size == 50_000
    download(weight, part, impatient)
    assert site.ranges[-1] == "bytes=50000-"
    assert part.read_bytes() == site.data


def test_a_server_that_always_sends_another_file(site, published, part, impatient):
    weight = published(site.url("/file", *[("flip",)] * 9))
    with pytest.raises(InputRefused, match="another file than the published one"):
        download(weight, part, impatient)
    assert len(site.asked) == 2
    assert not part.exists()


def test_slow_progress_is_progress(site, published, part, impatient):
    """Nine broken connections, each of which brought something: three attempts are not too few."""
    options = impatient.__class__(**{**vars(impatient), "progress_bytes": 20_000})
    download(published(site.url("/file", *[("truncate", 20_000)] * 9)), part, options)
    assert part.read_bytes() == site.data


def test_without_a_published_hash_only_the_same_version_goes_on(site, published, part, impatient):
    weight = published(site.url("/file", ("truncate", 50_000)), sha256=None, bytes=None)
    download(weight, part, impatient)
    assert site.ranges == [None, "bytes=50000-"]
    discard(part)
    site.url("/file", ("truncate", 50_000), ("die",), ("die",), ("die",))
    with pytest.raises(WeightsMissing):
        download(weight, part, impatient)
    site.data, site.tag = site.data[::-1], '"two"'
    download(weight, part, impatient)
    assert part.read_bytes() == site.data
    site.tag = 'W/"weak"'
    discard(part)
    site.url("/file", ("truncate", 50_000))
    download(weight, part, impatient)
    assert site.ranges[-1] is None
    assert part.read_bytes() == site.data


def test_a_length_that_is_too_long_does_not_hide_a_whole_file(site, published, part, impatient):
    """The transfer looks cut off; asked for the rest, the server has none (416), and the hash decides."""
    download(published(site.url("/file", ("claim", 250_000)), bytes=None), part, impatient)
    assert part.read_bytes() == site.data
    assert site.ranges == [None, "bytes=200000-"]


def test_a_whole_part_is_checked_not_fetched(site, published, part, impatient):
    part.write_bytes(site.data)
    download(published(site.url()), part, impatient)
    assert site.asked == []
    part.write_bytes(site.data[::-1])
    download(published(site.url()), part, impatient)
    assert part.read_bytes() == site.data


def test_a_disk_without_room(site, published, part, impatient, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 300_000, 300_000))
    with pytest.raises(OutputNotWritable, match="REFACER_HOME"):
        download(published(site.url()), part, impatient)
    assert not part.exists()


def test_a_disk_that_fails_is_not_the_networks_fault(site, published, impatient, tmp_path):
    with pytest.raises(OutputNotWritable, match=r"thing\.part"):
        download(published(site.url()), tmp_path / "nowhere" / "thing.part", impatient)


def test_https_is_not_left(published):
    request = module.Request("https://example.invalid/a")
    with pytest.raises(module.HTTPError, match="not https"):
        module._Redirects().redirect_request(request, None, 302, "Found", {}, "http://example.invalid/a")
