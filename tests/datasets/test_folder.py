"""The journal of a set, as a crash or a stranger may leave it."""

import json
from typing import Any

import pytest

from refacer.datasets.folder import MEASURED, Journal

SETTINGS: dict[str, Any] = {"align": {}, "models": {}}
FACE = dict.fromkeys(MEASURED, 0)
GOOD = {"sha256": "ab", "faces": [FACE], "error": None}


@pytest.mark.parametrize(
    "line",
    [
        "[1]", "7", "{}", "null", '{"sha256": 3, "faces": []}', '{"sha256": "cd"}', '{"sha256": "cd", "faces": {}}',
        '{"sha256": "cd", "faces": [3]}', '{"sha256": "cd", "faces": [{"name": "x"}]}', '{"sha256": "cut',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_a_journal_holds_as_far_as_its_records_are_whole(tmp_path, line):
    header = {"version": 1, **SETTINGS}
    (tmp_path / "measures.jsonl").write_text("\n".join([json.dumps(header), json.dumps(GOOD), line, json.dumps(GOOD)]))
    journal = Journal(tmp_path, SETTINGS)
    assert (journal.continued, list(journal.records)) == (True, ["ab"])
