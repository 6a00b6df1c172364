"""Whatever is wrong with a text of JSON is a ValueError, and readers of JSON go through one function."""

import ast
from pathlib import Path

import pytest

import refacer
from refacer.files.json_text import parse_json


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, b"\xff\xfe", b"\xed\xa0\x80", '"a', "9" * 5000, b"\0", "{'a': 1}"]
)
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - that it is one is the point
        parse_json(text)


def test_what_is_json_is_its_value():
    assert parse_json(b'{"a": [1, 2.5, null]}') == parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


def test_files_are_read_by_no_other_reader():
    """json.loads of what a file holds may fail by RecursionError; of what json.dumps has just made it may not."""
    others = []
    for path in Path(refacer.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "json.loads":
                of = ast.unparse(node.args[0])
                others += [] if of.startswith("json.dumps(") else [f"{path.name}: {of}"]
    assert sorted(others) == ["json_text.py: text", "style.py: files[PAIR_FILE]", "types.py: text"]
