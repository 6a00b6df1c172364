"""SDEdit as a method of `refacer compare`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from refacer.comparison.methods import CodeStore, Method, folder_of
from refacer.editor import Editor
from refacer.files.artefacts import Face
from refacer.images.pixels import rgb_from_tensor, tensor_from_rgb
from refacer.images.resampling import resized
from refacer.options import CompareOptions, SDEditOptions
from refacer.types import Passport


class EditingWorker:
    """A sample of each face, brought to the comparison's size. See `Works`; raises what `folder_of` raises."""

    def __init__(self, method: Method, options: CompareOptions) -> None:
        self._title = method.title
        self._seed = options.seed + (method.sample or 0)
        self._editor = Editor(folder_of(method, options), SDEditOptions(), options.device)

    def check(self) -> None:
        """Read the model."""
        self.read()

    def read(self) -> None:
        """See `Works`."""
        _ = self._editor.model

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `Works`."""
        side = self._editor.model.network.side_px
        return {"title": f"{self._title}, {side} pixels", "weights": self._editor.facts()["weights"]}

    def code_of(self, _name: str) -> str | None:
        """It has no codes."""
        return None

    def make(self, face: Face, _name: str, _codes: CodeStore) -> tuple[bytes, float]:
        """See `Works`."""
        since = time.perf_counter()
        drawn = self._editor.edit(face, self._seed)
        pixels = rgb_from_tensor(resized(tensor_from_rgb(drawn.pixels), face.size))
        data = Face.of(pixels, drawn.passport).encode()
        return data, time.perf_counter() - since

    def expected(self, face: Face) -> Passport:
        """See `Works`."""
        return self._editor.passport(face, self._seed)
