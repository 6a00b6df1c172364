"""Every picture of a comparison in numbers; what these networks have measured on these files is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refacer import console
from refacer.comparison.faces import ComparedFace, Place
from refacer.comparison.folder import TRUTH
from refacer.comparison.measures import Column, Figures, Measured, Measures, key_of
from refacer.comparison.tables import SECONDS, Table, row_of
from refacer.equipment import Equipment
from refacer.evaluation.evaluate import Evaluation, PictureSet
from refacer.files import read_bytes, read_source
from refacer.images.pixels import tensor_from_rgb
from refacer.jobs.frame import Frame
from refacer.options import CompareOptions, EvalOptions

Scores = dict[str, dict[str, Any]]
"""By face and column: the figures, and of which files and networks they are."""


class Scoring:
    """Pictures on their way to a table."""

    def __init__(
        self,
        place: Place,
        faces: Sequence[ComparedFace],
        measures: Measures,
        equipment: Equipment,
        options: CompareOptions,
        frame: Frame,
    ) -> None:
        self._place, self._faces, self._measures = place, faces, measures
        self._equipment, self._options, self._frame = equipment, options, frame

    def scores(self, columns: Sequence[str], kept: Mapping[str, Any]) -> Scores:
        """The figures of all that is there. kept: scores of an earlier call."""
        found: Scores = {}
        with console.bars(len(self._faces), quiet=self._frame.files.quiet) as bars:
            for number, face in enumerate(self._faces):
                bars.show_item(f"measuring {face.name}", number)
                found[face.name] = self._of_face(face, columns, kept.get(face.name, {}))
        return found

    def table(
        self,
        titles: Mapping[str, str],
        scores: Scores,
        seconds: Mapping[str, float],
        against: Sequence[PictureSet],
    ) -> Table:
        """A row a column of pictures. titles: by column; seconds: by COLUMN/FACE; against: sets for FID and KID."""
        columns, sets = self._sets(list(titles), against)
        rows = []
        for name, title in titles.items():
            own = [one[name]["figures"] for one in scores.values() if name in one]
            times = [seconds[key] for face in self._faces if (key := f"{name}/{face.name}") in seconds]
            rows.append(row_of(name, title, own, times, sets[name]))
        taken = Column("s a face", "lower", "median, with the networks already read", 2)
        return Table({**self._measures.columns(truth=TRUTH in titles), **columns, SECONDS: taken}, rows)

    def _of_face(self, face: ComparedFace, columns: Sequence[str], kept: Mapping[str, Any]) -> dict[str, Any]:
        measured: Measured | None = None
        found: dict[str, Any] = {}
        for column in columns:
            path = self._place.path(column, face.name)
            if not path.is_file() or (column == TRUTH and face.truth is None):
                continue
            key = key_of(self._measures.id, read_bytes(path), face)
            if kept.get(column, {}).get("of") == key:
                found[column] = kept[column]
                continue
            try:
                measured = measured or self._measures.face(face)
                pixels = read_source(path, max_pixels=self._options.max_pixels).rgb
                picture = tensor_from_rgb(pixels, self._equipment.device)
                found[column] = {"of": key, "figures": self._measures.figures(picture, measured)}
            except Exception as error:
                self._frame.failed(f"measuring {column}/{face.name}", error)
        return found

    def _sets(
        self, columns: Sequence[str], against: Sequence[PictureSet]
    ) -> tuple[dict[str, Column], dict[str, Figures]]:
        """FID and KID of each column's pictures to each set, as `refacer eval` takes them."""
        options = EvalOptions(pair=self._options.pair, device=self._options.device, seed=self._options.seed)
        evaluation, side_px = Evaluation(self._equipment, options, self._frame), self._equipment.resolution
        titles: dict[str, Column] = {}
        found: dict[str, Figures] = {name: {} for name in columns}
        for pictures in against:
            there = evaluation.set_features(pictures, side_px)
            for name in columns:
                own = PictureSet(self._place.folder / name, self._options.max_pixels)
                own.keys = [face.name for face in self._faces if face.name in own.keys]
                here = evaluation.set_features(own, side_px)
                if min(len(here), len(there)) < 2:
                    continue
                for measure in evaluation.set_distances(here, there, f"{name}, {pictures.source}"):
                    key = f"{measure.name}_to_{pictures.source.stem}"
                    titles[key] = Column(key.replace("_", " "), "lower", measure.about)
                    found[name][key] = measure.value
        return titles, found
