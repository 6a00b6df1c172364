"""The methods that `refacer compare` knows: a row a method. All of them go through `refacer.Refacer`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refacer.engine import Refacer
from refacer.errors import RefacerError, UsageError
from refacer.files import read_bytes, write_atomic
from refacer.files.artefacts import Face, Latents
from refacer.files.json_text import parse_json
from refacer.inverters.method import chosen_method
from refacer.jobs.runner import passport_of
from refacer.options import INVERTERS, CompareOptions, GeneratorRole
from refacer.types import Passport


@dataclass(frozen=True)
class Method:
    """A way from a face to a realistic one.

    choices: what is chosen against the pair's own defaults; into: the generator that is inverted, where one is; pasted:
    whether the new face is put back into the input, as `refacer run` does, or shown as the generator drew it.
    """

    title: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    into: GeneratorRole = "rendering"
    pasted: bool = False


METHODS: Mapping[str, Method] = {
    "ours": Method("the pair's own way", pasted=True),
    "translate": Method("without inversion", {"way": "translate"}, pasted=True),
    "project": Method("Eq. 4, G_real of the code", {"way": "project"}),
    "project-face": Method("that, --paste face", {"way": "project", "paste": "face"}, pasted=True),
    "project-change": Method("that, --paste change", {"way": "project", "paste": "change"}, pasted=True),
    "direct": Method("Eq. 4 into the realistic generator", {"way": "project"}, into="real"),
    # the rivals of the paper's Fig. 5 go straight into the realistic generator
    **{
        name: Method(f"{name} into the realistic generator", {"way": "project", "inverter": name}, into="real")
        for name in INVERTERS
        if name != "optimise"
    },
}


CODES = "codes"
"""The folder of codes, and what their times are called."""


def method_of(name: str) -> Method:
    """A method by its name; raises UsageError for one that does not exist."""
    if name not in METHODS:
        raise UsageError(f"--methods {name}: no such method; choose among {', '.join(METHODS)}")
    return METHODS[name]


class Times:
    """The seconds that pictures and codes took, in a file: what is up to date keeps its time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = {}
        with suppress(RefacerError, ValueError, TypeError, AttributeError):  # without it times are taken anew
            self.seconds = {str(name): float(value) for name, value in parse_json(read_bytes(path)).items()}

    def take(self, name: str, seconds: float) -> float:
        """Write down what something took, to the millisecond."""
        self.seconds[name] = round(seconds, 3)
        write_atomic(self._path, json.dumps(self.seconds, indent=0).encode() + b"\n")
        return self.seconds[name]


class Codes:
    """Found codes, which several methods start from, and what finding each took."""

    def __init__(self, folder: Path, times: Times) -> None:
        self._folder, self._times = folder, times

    def find(self, studio: Refacer, face: Face, name: str, into: GeneratorRole) -> tuple[Latents, float]:
        """The code of a face and the seconds that finding it took, now or before."""
        key = f"{CODES}/{studio.choices.inverter}-{into}/{name}"
        path = self._folder / f"{key}.npy"
        if passport_of(path) == studio.records.projected_passport(face, into) and key in self._times.seconds:
            return Latents.read(path), self._times.seconds[key]
        since = time.perf_counter()
        found = studio.project(face, into=into)
        seconds = self._times.take(key, time.perf_counter() - since)
        write_atomic(path, found.encode())
        return found, seconds


class Worker:
    """A method at work with the networks of a pair. Raises what making its Refacer raises."""

    def __init__(self, method: Method, options: CompareOptions, codes: Codes) -> None:
        self._method, self._codes = method, codes
        self._studio = Refacer(
            options.pair,
            options.device,
            **{"steps": options.steps, "seed": options.seed, "max_pixels": options.max_pixels, **method.choices},
        )

    def check(self) -> None:
        """Meet weights that are not there before the work, and read those that are, so that no face pays for it."""
        studio, method = self._studio, self._method
        studio.check()
        _ = studio.networks()
        if studio.equipment.way == "project" and method.into != "rendering":
            ours = chosen_method(studio.equipment, method.into)
            ours.check()
            _ = ours.inverter()

    @property
    def facts(self) -> Mapping[str, Any]:
        """The method in words, and the weights it used so far."""
        return {"title": self._method.title, "weights": self._studio.equipment.facts().get("weights", [])}

    def make(self, face: Face, name: str) -> tuple[bytes, float]:
        """The PNG of what the method makes of a face, and the seconds it took."""
        studio, found_s = self._studio, 0.0
        if studio.equipment.way == "translate":
            since = time.perf_counter()
            real = studio.translate(face)
        else:
            latents, found_s = self._codes.find(studio, face, name, self._method.into)
            since = time.perf_counter()
            real = studio.decode(latents)
        data = studio.paste(face.source, [real], ["auto"]).encode() if self._method.pasted else real.encode()
        return data, found_s + time.perf_counter() - since

    def expected(self, face: Face) -> Passport:
        """The passport of what `make` would give now; a file that has it is up to date."""
        studio = self._studio
        records, equipment = studio.records, studio.equipment
        translated = equipment.way == "translate"
        if translated:
            passport = records.translated_passport(face)
        else:
            passport = records.projected_passport(face, self._method.into)
            passport = passport.with_stage(records.decode(equipment.decode_options()))
        if not self._method.pasted:
            return passport
        options = equipment.composite_options(translated=translated)
        passport = passport.with_stage(records.parse(equipment.parse_options(options.paste)))
        return passport.with_stage(records.composite(options))
