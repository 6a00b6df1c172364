"""What a run keeps on disk, when others have been at it."""

import pytest

from refacer.errors import InputRefused
from refacer.finetuning.folder import CONFIGURATION, LOG, RunFolder


def test_damaged_lines_of_a_log_are_left_out(tmp_path):
    folder = RunFolder(tmp_path, "refacer finetune", quiet=True)
    lines = [
        b'{"images_seen": 4}',
        b"\xff\xfe",
        b'{"images_seen": "8"}',
        b"[8]",
        b"[" * 100_000,
        b'{"images_seen": 8}',
        b'{"im',
    ]
    (tmp_path / LOG).write_bytes(b"\n".join(lines))
    assert [tick["images_seen"] for tick in folder.ticks()] == [4, 8]
    folder.trim_log(4)
    assert (tmp_path / LOG).read_text() == '{"images_seen": 4}\n'


@pytest.mark.parametrize("text", ["", "[1]", "3", "[" * 100_000, "{"])
def test_a_damaged_configuration_is_refused(tmp_path, text):
    (tmp_path / CONFIGURATION).write_text(text)
    with pytest.raises(InputRefused, match="damaged"):
        RunFolder(tmp_path, "refacer finetune", quiet=True).configuration()
