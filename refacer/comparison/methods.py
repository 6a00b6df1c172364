"""The methods that `refacer compare` knows: a row a method. All but SDEdit go through `refacer.Refacer`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

from refacer.engine import Refacer
from refacer.equipment import Equipment
from refacer.errors import RefacerError, UsageError, WeightsMissing
from refacer.files import read_bytes, write_atomic
from refacer.files.artefacts import Face, Latents
from refacer.files.json_text import parse_json
from refacer.inverters.method import chosen_method
from refacer.options import INVERTERS, CompareOptions, GeneratorRole
from refacer.types import Passport
from refacer.weights.pairs import Pair, load_pair


@dataclass(frozen=True)
class Method:
    """A way from a face to a realistic one.

    choices: what is chosen against the pair's own defaults; into: the generator that is inverted, where one is; pasted:
    whether the new face is put back into the input, as `refacer run` does, or shown as the generator drew it; run: the
    name under which a folder of its own is given, where it can have one; sample: of SDEdit, which seed from the first.
    """

    title: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    into: GeneratorRole = "rendering"
    pasted: bool = False
    run: str = ""
    sample: int | None = None


SDEDIT = "sdedit"
RULE_LABELS = {
    "agile": "AgileGAN's second stage",
    "nada": "StyleGAN-NADA by text",
    "image-guided": "image-guided (EfficientNet-Lite0)",
}
"""How the label of a pair that such a rule has made begins."""

METHODS: Mapping[str, Method] = {
    "ours": Method("the pair's own way", pasted=True),
    "translate": Method("without inversion", {"way": "translate"}, pasted=True),
    "project": Method("Eq. 4, G_real of the code", {"way": "project"}),
    "project-face": Method("that, --paste face", {"way": "project", "paste": "face"}, pasted=True),
    "project-change": Method("that, --paste change", {"way": "project", "paste": "change"}, pasted=True),
    "direct": Method("Eq. 4 into the realistic generator", {"way": "project"}, into="real"),
    # the rivals of the paper's Fig. 5 go straight into the realistic generator
    **{
        name: Method(
            f"{name} into the realistic generator",
            {"way": "project", "inverter": name},
            into="real",
            run="" if name == "ii2s" else name,
        )
        for name in INVERTERS
        if name not in ("optimise", "linear")
    },
    **{name: Method(label, {"way": "project"}, run=name) for name, label in RULE_LABELS.items()},
    SDEDIT: Method("SDEdit", run=SDEDIT, sample=0),
    **{f"{SDEDIT}-{i + 1}": Method(f"SDEdit, sample {i + 1}", run=SDEDIT, sample=i) for i in (1, 2)},
}

RUNS = tuple(dict.fromkeys(method.run for method in METHODS.values() if method.run))
"""Methods that have a folder of their own, or can have one: the encoders are published, too."""


CODES = "codes"
"""The folder of codes, and what their times are called."""

TIME_DIGITS = 3
"""Seconds are kept to the millisecond."""


def method_of(name: str) -> Method:
    """A method by its name; raises UsageError for one that does not exist."""
    if name not in METHODS:
        raise UsageError(f"--methods {name}: no such method; choose among {', '.join(METHODS)}")
    return METHODS[name]


class Times:
    """The seconds that pictures and codes took, in a file: what is up to date keeps its time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changing = Lock()
        self.seconds: dict[str, float] = {}
        with suppress(RefacerError, ValueError, TypeError, AttributeError):  # without it times are taken anew
            self.seconds = {str(name): float(value) for name, value in parse_json(read_bytes(path)).items()}

    def take(self, name: str, seconds: float) -> None:
        """Write down what something took; threads may share it."""
        with self._changing:
            self.seconds[name] = round(seconds, TIME_DIGITS)
            write_atomic(self._path, json.dumps(self.seconds, indent=0).encode() + b"\n")


def folder_of(method: Method, options: CompareOptions) -> Path:
    """The folder of a method that needs one of its own; raises WeightsMissing with what makes one."""
    folder = options.runs.get(method.run)
    if folder is not None:
        return folder
    if method.run == SDEDIT:
        made = "`python -m tools.studio.train_diffusion RUN --data PHOTOS --held-out PHOTOS` trains one"
        raise WeightsMissing(f"{SDEDIT}: needs a model of photographs, {made}; then give --run {SDEDIT}=RUN")
    made = f"`refacer finetune FACES --rule {method.run} -o RUN` trains one"
    raise WeightsMissing(f"{method.run}: needs a pair of that rule, {made}; then give --run {method.run}=RUN")


def check_rule(method: Method, pair: Pair, compared: Pair) -> None:
    """Raise UsageError for a pair that another rule has made, or one of another size than the comparison's."""
    made = str(pair.facts.get("rule", "the paper's rule"))
    if not made.startswith(RULE_LABELS[method.run]):
        names = [name for name, label in RULE_LABELS.items() if made.startswith(label)]
        hint = f"; compare it as {names[0]}" if names else ""
        raise UsageError(f"{pair.folder}: its rule is {made}, not {method.run}{hint}")
    if compared.resolution != pair.resolution:
        raise UsageError(f"{pair.folder}: draws {pair.resolution} pixels, the comparison's pair {compared.resolution}")


def check_encoder(method: Method, equipment: Equipment, compared: Pair) -> None:
    """Raise UsageError for a pair without an encoder of that kind into the realistic generator that is compared."""
    pair, into = equipment.pair, method.into
    if not chosen_method(equipment, into).carried:
        made = f"`refacer train-encoder FACES --kind {method.run} --into {into} -o RUN` trains one"
        raise UsageError(f"{pair.folder}: carries no {method.run} into its {into} generator; {made}")
    if pair.sha256(into) != compared.sha256(into):
        raise UsageError(f"{pair.folder}: its {into} generator is not the comparison's")


class Kept(NamedTuple):
    """A code as its file holds it, and the seconds that finding it took."""

    data: bytes
    seconds: float


class CodeStore(Protocol):
    """Where found codes are kept, by name."""

    def get(self, key: str, /) -> Kept | None:
        """A code; None where it is not there, or nobody knows what it took."""
        ...

    def put(self, key: str, found: Kept, /) -> None:
        """Keep a code."""
        ...


class CodeFiles:
    """Codes in the folder of the comparison, and what they took among its times."""

    def __init__(self, folder: Path, times: Times) -> None:
        self._folder, self._times = folder, times

    def get(self, key: str) -> Kept | None:
        """See `CodeStore`."""
        with suppress(RefacerError, KeyError):
            return Kept(read_bytes(self._path(key)), self._times.seconds[key])
        return None

    def put(self, key: str, found: Kept) -> None:
        """See `CodeStore`."""
        self._times.take(key, found.seconds)
        write_atomic(self._path(key), found.data)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npy"


class Works(Protocol):
    """A method at work."""

    def check(self) -> None:
        """Meet weights that are not there before the work."""
        ...

    def read(self) -> None:
        """Read the networks, so that no face pays for it."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """The method in words, and the weights it used so far."""
        ...

    def code_of(self, name: str, /) -> str | None:
        """What the code of a face is kept as, for other methods too; None for a method without codes."""
        ...

    def make(self, face: Face, name: str, codes: CodeStore, /) -> tuple[bytes, float]:
        """The PNG of what the method makes of a face, and the seconds it took, now and, of a kept code, before."""
        ...

    def expected(self, face: Face) -> Passport:
        """The passport of what `make` would give now; a file that has it is up to date."""
        ...


class Worker:
    """A method at work with the networks of a pair. Raises what making its Refacer raises.

    Faces that are unlike those that the pair knows are drawn too: no method is spared any.
    """

    def __init__(self, method: Method, options: CompareOptions) -> None:
        self._method = method
        own = method.run in RULE_LABELS or method.run in options.runs
        pair = str(folder_of(method, options)) if own else options.pair
        self._compared = load_pair(options.pair) if own else None  # where the method's own pair is another
        chosen = {"steps": options.steps, "seed": options.seed, "max_pixels": options.max_pixels, "range": "ignore"}
        self._studio = Refacer(pair, options.device, **{**chosen, **method.choices})

    def check(self) -> None:
        """See `Works`."""
        studio, method = self._studio, self._method
        if self._compared and method.run in RULE_LABELS:
            check_rule(method, studio.equipment.pair, self._compared)
        elif self._compared:
            check_encoder(method, studio.equipment, self._compared)
        studio.check(method.into)

    def read(self) -> None:
        """See `Works`."""
        _ = self._studio.networks(self._method.into)

    @property
    def _inverts(self) -> bool:
        return self._studio.equipment.way == "project"

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `Works`."""
        return {"title": self._method.title, "weights": self._studio.equipment.facts().get("weights", [])}

    def code_of(self, name: str) -> str | None:
        """See `Works`."""
        method, owner = self._method, f"{self._method.run}-" if self._compared else ""
        return f"{CODES}/{owner}{self._studio.choices.inverter}-{method.into}/{name}" if self._inverts else None

    def make(self, face: Face, name: str, codes: CodeStore) -> tuple[bytes, float]:
        """See `Works`."""
        studio, found_s, key = self._studio, 0.0, self.code_of(name)
        if key is None:
            since = time.perf_counter()
            real = studio.translate(face)
        else:
            latents, found_s = self._code(face, key, codes)
            since = time.perf_counter()
            real = studio.decode(latents)
        data = studio.paste(face.source, [real], ["auto"]).encode() if self._method.pasted else real.encode()
        return data, found_s + time.perf_counter() - since

    def _code(self, face: Face, key: str, codes: CodeStore) -> tuple[Latents, float]:
        """The code of a face, found now or before, and the seconds that finding it took."""
        into = self._method.into
        if (kept := codes.get(key)) is not None:
            with suppress(RefacerError):  # a damaged file is made anew
                known = Latents.read(kept.data)
                if known.passport == self._studio.records.projected_passport(face, into):
                    return known, kept.seconds
        since = time.perf_counter()
        found = self._studio.project(face, into=into)
        seconds = round(time.perf_counter() - since, TIME_DIGITS)
        codes.put(key, Kept(found.encode(), seconds))
        return found, seconds

    def expected(self, face: Face) -> Passport:
        """See `Works`."""
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
