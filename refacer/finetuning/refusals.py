"""Which pictures a run does without, and which it has changed: told in messages, and by name in refused.json."""

from __future__ import annotations

from refacer.finetuning.folder import RunFolder
from refacer.training.dataset import FaceDataset

SHOWN_REFUSALS = 20
"""More pictures that are left out are counted, not named, on stderr; the file names them all."""


class Refusals:
    """Tells each picture once."""

    def __init__(self, disk: RunFolder) -> None:
        self.disk, self._told = disk, 0

    def tell(self, data: FaceDataset) -> None:
        """What was left out and what was changed when the pictures were first read."""
        for _, reason in data.refused[:SHOWN_REFUSALS]:
            self.disk.warn(f"left out {reason}")
        if len(data.refused) > SHOWN_REFUSALS:
            self.disk.warn(f"left out {len(data.refused) - SHOWN_REFUSALS} more; refused.json names them")
        kinds: dict[str, list[str]] = {}
        for name, change in data.converted:
            kinds.setdefault(change, []).append(name)
        for change, names in kinds.items():
            self.disk.warn(f"{change}: {len(names)} of the pictures, the first {names[0]}")
        self._told = len(data.refused)
        if data.refused or data.converted:
            self._write(data)

    def tell_new(self, data: FaceDataset) -> None:
        """Files that have gone bad since."""
        for _, reason in data.refused[self._told :]:
            self.disk.warn(f"the next picture is used in place of {reason}")
        if len(data.refused) > self._told:
            self._told = len(data.refused)
            self._write(data)

    def _write(self, data: FaceDataset) -> None:
        left_out = [{"name": name, "reason": reason} for name, reason in data.refused]
        changed = [{"name": name, "change": change} for name, change in data.converted]
        self.disk.write_json("refused.json", {"left_out": left_out, "converted": changed})
