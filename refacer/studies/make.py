"""`refacer study make`: from folders of pictures to a page that asks people which picture is the most real."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from refacer import console
from refacer.comparison.folder import INPUTS, TRUTH, ComparisonFolder
from refacer.errors import Mismatch, UsageError
from refacer.files import encode_png, read_source
from refacer.options import StudyOptions
from refacer.studies.design import BLURRED, MAX_SHOWN, OBVIOUS_TRIALS, SHARP, Design
from refacer.studies.folder import StudyFolder
from refacer.studies.page import study_page
from refacer.types import Rgb

LARGEST_PX = 512
"""Side of the pictures where none was chosen: two fit on a screen, and the page stays small."""

BLUR_FRAC = 1 / 16
"""Sigma of the blur in obvious trials, as a fraction of the side."""

LARGE_PAGE_BYTES = 50_000_000
FOCAL = "ours"


def make_study(source: Path, output: Path, options: StudyOptions, *, force: bool = False, quiet: bool = False) -> None:
    """Write the study of the pictures below `source` into the folder `output`.

    Raises UsageError for fewer than two methods or an unknown one, Mismatch where pictures do not pair up,
    OutputNotWritable where `output` holds another study's votes, or files that are not a study's.
    """
    comparison = ComparisonFolder.read(source)
    names = _chosen(comparison, options)
    keys = _cases(comparison, names, options)
    made = _Pictures(comparison, names, keys, options).read()
    shown = len(names) if options.form == "all" else 2
    if shown > MAX_SHOWN:
        raise UsageError(
            f"--form all: {shown} methods; at most {MAX_SHOWN} fit beside each other, choose with --methods"
        )
    design = Design(
        form=options.form,
        question=options.question,
        focal=made.short[_focal(names, options)],
        methods=tuple(sorted(made.short.values())),
        cases=tuple(str(i + 1) for i in range(len(keys))),
        obvious=tuple(str(i % len(keys) + 1) for i in range(OBVIOUS_TRIALS)),
        pictures=made.digest(),
        size_px=made.size_px,
        input_shown=options.show_input,
        rule=options.rule,
        seed=options.seed,
    )
    folder = StudyFolder(output)
    folder.claim(design, force=force)
    page = study_page(design, made.files)
    titles = {made.short[name]: name for name in names}
    folder.write(design, titles, dict(zip(design.cases, keys, strict=True)), page)
    if not quiet:
        _tell(folder, design, page)


def _tell(folder: StudyFolder, design: Design, page: bytes) -> None:
    count = len(design.plan("0" * 16))
    if len(page) > LARGE_PAGE_BYTES:
        console.warn(f"{folder.page}: {len(page) / 1e6:.0f} MB; a smaller --size or fewer --cases load quicker")
    console.note(f"{folder.page}: study {design.id}, {count} questions a person; open it, or `refacer study serve`")


def _chosen(comparison: ComparisonFolder, options: StudyOptions) -> list[str]:
    """The methods of the study, by name."""
    for name in (*options.methods, *([options.focal] if options.focal else [])):
        if name not in comparison.methods:
            there = ", ".join(comparison.methods)
            raise UsageError(f"{comparison.path}: no method {name} is there; choose among {there}")
    names = list(dict.fromkeys(options.methods or comparison.methods))
    if len(names) < 2:
        raise UsageError(f"{comparison.path}: a study compares two methods or more, and this is one ({names[0]})")
    if options.focal and options.focal not in names:
        raise UsageError(f"--focal {options.focal}: not among --methods")
    return names


def _focal(names: Sequence[str], options: StudyOptions) -> str:
    return options.focal or (FOCAL if FOCAL in names else names[0])


def _cases(comparison: ComparisonFolder, names: Sequence[str], options: StudyOptions) -> list[str]:
    """The faces of the study, drawn by its seed, in an order that tells nothing."""
    needed = [*names, *([INPUTS] if options.show_input else [])]
    there = {name: comparison.pictures(name).keys() for name in needed}
    every = dict.fromkeys(key for keys in there.values() for key in keys)
    common = [key for key in every if all(key in keys for keys in there.values())]
    lacking = {name: [key for key in every if key not in keys] for name, keys in there.items()}
    if not options.common or not common:
        for name, keys in lacking.items():
            if keys:
                told = f"{comparison.path}: {name} lacks {_few(keys)}, which others have"
                more = f", or study the {len(common)} that all have with --common" if common else ""
                raise Mismatch(f"{told}; add what is missing{more}")
    left = len(every) - len(common)
    if left:
        console.warn(f"{comparison.path}: {left} faces that a method lacks are left out")
    order = np.random.default_rng(options.seed).permutation(len(common))
    return [common[i] for i in order][: options.cases]


def _few(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more


class _Pictures:
    """Every picture of a study at one size, in one format, without anything that travels beside pixels.

    short: a letter for each method, given by the seed; files: PNGs by "CASE/WHAT".
    """

    def __init__(
        self, comparison: ComparisonFolder, names: Sequence[str], keys: Sequence[str], options: StudyOptions
    ) -> None:
        self._comparison, self._names, self._keys, self._options = comparison, names, keys, options
        order = np.random.default_rng([options.seed, 1]).permutation(len(names))
        self.short = {name: _letter(int(place)) for name, place in zip(names, order, strict=True)}
        self.files: dict[str, bytes] = {}
        self.size_px = 0

    def read(self) -> _Pictures:
        """Read and equalise all."""
        sets = {name: self._read(name) for name in self._names}
        sizes = {picture.shape[:2] for pictures in sets.values() for picture in pictures}
        for height, width in sizes:
            if height != width:
                raise Mismatch(
                    f"{self._comparison.path}: a picture of {width}x{height}; give aligned faces, which are square"
                )
        smallest = min(height for height, _ in sizes)
        self.size_px = self._options.size or min(smallest, LARGEST_PX)
        if len(sizes) > 1:
            several = ", ".join(f"{height} px" for height, _ in sorted(sizes))
            console.warn(f"{self._comparison.path}: pictures of {several}; all are shown at {self.size_px} px")
        for name, pictures in sets.items():
            self._add(self.short[name], pictures)
        if self._options.show_input:
            self._add("input", self._read(INPUTS))
        self._add_obvious(sets)
        return self

    def digest(self) -> str:
        """sha256 over all pictures and their places."""
        whole = hashlib.sha256()
        for key, data in sorted(self.files.items()):
            whole.update(f"{key} {hashlib.sha256(data).hexdigest()}\n".encode())
        return whole.hexdigest()

    def _read(self, name: str) -> list[Rgb]:
        paths = self._comparison.pictures(name)
        return [read_source(paths[key], max_pixels=self._options.max_pixels).rgb for key in self._keys]

    def _add(self, what: str, pictures: Iterable[Rgb]) -> None:
        for number, picture in enumerate(pictures):
            self.files[f"{number + 1}/{what}"] = encode_png(_sized(picture, self.size_px), None)

    def _add_obvious(self, sets: Mapping[str, Sequence[Rgb]]) -> None:
        """The obvious trials' pictures: of the truth where it is known, else of the first method."""
        known = self._comparison.pictures(TRUTH)
        for number in range(min(OBVIOUS_TRIALS, len(self._keys))):
            key = self._keys[number]
            own = next(iter(sets.values()))[number]
            picture = read_source(known[key], max_pixels=self._options.max_pixels).rgb if key in known else own
            sharp = _sized(picture, self.size_px)
            blurred = Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(self.size_px * BLUR_FRAC))
            self.files[f"{number + 1}/{SHARP}"] = encode_png(sharp, None)
            self.files[f"{number + 1}/{BLURRED}"] = encode_png(np.array(blurred), None)


def _letter(place: int) -> str:
    """m1, m2 ...: what a method is called where nobody may know it."""
    return f"m{place + 1}"


def _sized(picture: Rgb, size_px: int) -> Rgb:
    """A square picture at another size."""
    if picture.shape[0] == size_px:
        return picture
    return np.array(Image.fromarray(picture).resize((size_px, size_px), Image.Resampling.LANCZOS))
