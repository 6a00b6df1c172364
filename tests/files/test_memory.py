"""Want of memory is no damage, whatever the decoders call it."""

import builtins
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from refacer.files import Source, encode_display, read_source

LIMITED = """
import resource, sys
from pathlib import Path
import cv2
from refacer.errors import RefacerError
from refacer.files import read_source

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]) * 2**20,) * 2)
try:
    read_source(Path(sys.argv[1]), max_pixels=10**9)
except (MemoryError, RefacerError) as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited as Linux does")
@pytest.mark.parametrize(("name", "mib"), [("a.webp", 8), ("a.png", 45), ("a.tif", 45), ("8.png", 3)])
def test_want_of_memory_is_told_from_damage(tmp_path, name, mib):
    path = tmp_path / name
    if name[0] == "8" or name == "a.webp":
        Image.new("RGB", (2000, 2000)).save(path)
    else:
        native = np.zeros((2000, 2000, 3), np.uint16)
        path.write_bytes(encode_display(native, Source(native), "PNG" if name == "a.png" else "TIFF", None))
    command = [sys.executable, "-c", LIMITED, str(path), str(mib)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "MemoryError", done.stderr


def test_opencv_whose_libraries_find_no_room_is_want_of_memory(monkeypatch):
    native, real = np.zeros((8, 8, 3), np.uint16), builtins.__import__
    data = encode_display(native, Source(native), "PNG", None)

    def full(name, *rest):
        if name == "cv2":
            raise ImportError("libopenblas.so: failed to map segment from shared object")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", full)
    with pytest.raises(MemoryError):
        read_source(data, max_pixels=64)
