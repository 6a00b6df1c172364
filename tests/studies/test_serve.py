"""`refacer study serve` over a real socket: votes are on the disk when they are confirmed, whatever happens then."""

import http.client
import json
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refacer.errors import OutputNotWritable
from refacer.studies.serve import LINES, MAX_BODY_BYTES, Ballot, listening
from refacer.studies.votes import read_votes
from tests.studies.voters import ballots, design

HEADERS = {"Content-Type": LINES}
PAGE = b"<html>the page</html>"


@pytest.fixture
def lines() -> list[bytes]:
    """One person's lines."""
    return [json.dumps(line).encode() for line in ballots(design(), {"m1": 1, "m2": 1}, 1, 0)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server at work: its port and its file of votes."""
    path = tmp_path / "votes/votes.jsonl"
    with Ballot(path) as ballot, listening("127.0.0.1", 0, PAGE, design(), ballot) as server:
        worker = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        worker.start()
        yield server.server_port, path
        server.shutdown()
        worker.join()


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body or None, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def cast(port: int, body: bytes, **headers: str) -> int:
    return ask(port, "POST", "/votes", body, **{"Content_Type": LINES, **headers})[0]


def test_it_shows_the_page_and_nothing_else(served):
    port, _ = served
    assert ask(port, "GET", "/") == (200, PAGE)
    assert ask(port, "GET", "/index.html?x=1") == (200, PAGE)
    assert ask(port, "HEAD", "/") == (200, b"")
    for path in ("/study.json", "/votes", "/votes/votes.jsonl", "/../study.json", "//etc/passwd"):
        assert ask(port, "GET", path)[0] == 404


def test_votes_are_on_the_disk_when_they_are_confirmed(served, lines):
    port, path = served
    for number, line in enumerate(lines, 1):
        assert cast(port, line + b"\n") == 200
        assert path.read_bytes() == b"".join(one + b"\n" for one in lines[:number])
    assert len(read_votes([path]).people[0].answers) == 14


def test_many_people_at_once_lose_nothing(served):
    port, path = served
    everyone = [list(ballots(design(), {"m1": 1, "m2": 1}, 1, seed)) for seed in range(8)]

    def vote(own: list[dict[str, Any]]) -> None:
        for line in own:
            assert cast(port, json.dumps(line).encode()) == 200

    workers = [threading.Thread(target=vote, args=(own,)) for own in everyone]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    votes = read_votes([path])
    assert votes.problems == ()
    assert sorted(len(person.answers) for person in votes.people) == [14] * 8


def test_what_is_no_vote_is_refused_whole(served, lines):
    port, path = served
    other = json.dumps({**json.loads(lines[1]), "study": "0" * 16}).encode()
    nobody = json.dumps({**json.loads(lines[1]), "person": "me"}).encode()
    for body in (b"x", b"{}", b"[]", b"\n", other, nobody, lines[0] + b"\n" + lines[1][:-9]):
        assert cast(port, body) == 400
    assert cast(port, lines[1], Content_Type="text/plain") == 403, "what a form of another site may send"
    assert cast(port, lines[1], Origin="http://elsewhere.example") == 403
    assert cast(port, b"x" * (MAX_BODY_BYTES + 1)) == 413
    assert ask(port, "POST", "/other", lines[1], Content_Type=LINES)[0] == 404
    assert ask(port, "PUT", "/votes", lines[1])[0] == 501
    assert path.read_bytes() == b""
    assert cast(port, lines[1], Origin=f"http://127.0.0.1:{port}", Host=f"127.0.0.1:{port}") == 200


def test_a_line_cut_by_a_power_failure_spoils_no_other(tmp_path, lines):
    path = tmp_path / "votes.jsonl"
    path.write_bytes(lines[0] + b"\n" + lines[1][:30])
    with Ballot(path) as ballot:
        ballot.cast(lines[1] + b"\n")
    votes = read_votes([path])
    assert (len(votes.people[0].answers), len(votes.problems)) == (1, 1)


def test_an_address_in_use_and_a_place_without_rights_are_said(tmp_path):
    with Ballot(tmp_path / "v.jsonl") as ballot, listening("127.0.0.1", 0, PAGE, design(), ballot) as server:
        with pytest.raises(OutputNotWritable, match="choose another --port"):
            listening("127.0.0.1", server.server_port, PAGE, design(), ballot)
        with pytest.raises(OutputNotWritable, match="cannot be listened at"):
            listening("not a host", 0, PAGE, design(), ballot)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputNotWritable, match="cannot be written"):
        Ballot(tmp_path / "file/v.jsonl")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_nothing_is_lost_when_it_is_killed(program, cli, compared, tmp_path, number, code):
    assert cli("study", "make", compared, "-o", tmp_path / "study").code == 0
    asked = json.loads((tmp_path / "study/study.json").read_text())["study"]
    vote = json.dumps({"study": asked, "person": "0" * 16, "kind": "main"}).encode()
    with program("study", "serve", tmp_path / "study", "--port", 0) as process:
        told = process.stderr.readline().decode()
        (port,) = map(int, re.findall(r"http://127\.0\.0\.1:(\d+)/", told))
        status, page = ask(port, "GET", "/")
        assert (status, b"connect-src 'self'" in page, b'data-collect="votes"' in page) == (200, True, True)
        for _ in range(3):
            assert cast(port, vote) == 200
        process.stderr.close()  # nobody listens any more
        process.send_signal(number)
    assert process.returncode == code
    assert (tmp_path / "study/votes/votes.jsonl").read_bytes() == (vote + b"\n") * 3


def test_a_folder_without_a_study(cli, tmp_path):
    ended = cli("study", "serve", tmp_path)
    assert (ended.code, "refacer study make" in ended.err, ended.err.count("\n")) == (2, True, 1)
