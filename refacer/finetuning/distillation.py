"""What `refacer distill` trains: a pair's feed-forward network, which gives faces the pair's look without inversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from refacer.device import choose_device
from refacer.errors import UsageError
from refacer.finetuning.folder import RunFolder, spelled
from refacer.finetuning.identity import RunIdentity
from refacer.finetuning.record import TERMS_OF_PICTURES, Observation, weighted
from refacer.images.pixels import scale_to_unit
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.options import DistillOptions, TranslateOptions
from refacer.stages.translate import translate
from refacer.training.dataset import FaceDataset
from refacer.training.distill import Distiller
from refacer.training.finetune import Tick
from refacer.training.processes import Processes, device_name, refuse_several
from refacer.weights import terms
from refacer.weights.choices import choose
from refacer.weights.pair_json import EFFICIENTNET
from refacer.weights.pairs import NETWORKS, encode_beside, load_pair

LOOKS = ("rendering", "real")
TRANSLATOR = "translator"

SPELLED = {
    "tick_kimg": "--tick",
    "schedule_kimg": "--kimg",
    "rendering_sha256": "the pair's rendering generator",
    "real_sha256": "the pair's realistic generator",
    "renders_sha256": "the renders",
    "renders_count": "the number of renders",
    "photos_sha256": "the photos",
    "photos_count": "the number of photos",
    "photographs": "--photos",
}
OPTIONS = frozenset({
    "kimg", "batch", "lr", "seed", "precision", "deterministic", "ema_kimg", "warmup_kimg", "coarse_weight",
    "adversarial_weight", "adversarial_kimg", "d_lr", "range_faces",
})  # fmt: skip
"""Values of the configuration that are options of the command under their own names."""


class DistillationRecipe:
    """The recipe of `refacer distill` (see `Recipe`)."""

    command = "refacer distill"
    sample_order = "each render and, right of it, its translation"

    def __init__(
        self,
        renders: Sequence[Path],
        photos: Sequence[Path],
        pair: str | None,
        options: DistillOptions,
        device: str = "auto",
    ) -> None:
        """renders, photos: folders and zips of aligned faces in both looks; without photos the pair draws them.

        pair: a name or folder, None for the default one. Raises UsageError, InputRefused, WeightsMissing.
        """
        refuse_several(self.command)
        if not options.kimg > 0:
            raise UsageError(f"--kimg {options.kimg:g}: a network that has seen nothing knows no change")
        self.renders, self.photos, self.options = renders, photos, options
        self.device = choose_device(device_name(device))
        self.pair = load_pair(pair)
        for role in LOOKS:
            self.pair.path(role)  # met here where it is missing, and not after the pictures were read
        self.trunk = choose("perceptual", EFFICIENTNET)
        self.network = TranslatorConfig(input_px=min(TranslatorConfig.input_px, self.pair.resolution))
        self.identity = RunIdentity(self.network.input_px, self.device, paired=True)

    def configuration(self) -> dict[str, Any]:
        """What a resumed run must share with this one, but for the pictures.

        The length too, unlike other trainings': the learning rate falls towards the end.
        """
        options = asdict(self.options)
        return {
            "options": {**options, **options.pop("disturb")},
            "network": self.network.to_dict(),
            "schedule_kimg": self.options.kimg,
            "photographs": "given" if self.photos else "drawn by the pair",
            **{f"{role}_sha256": self.pair.sha256(role) for role in LOOKS},
        }

    def spelled(self, name: str) -> str:
        """The option that sets a value of the configuration; its own name where there is none."""
        return spelled(name, SPELLED, OPTIONS)

    def load_data(self) -> dict[str, FaceDataset]:
        """The aligned faces, which should be as large as the pair's, at the size at which the network looks at them."""
        size, own, seed = self.network.input_px, self.pair.resolution, self.options.seed
        given = {"renders": self.renders, "photos": self.photos}
        return {name: FaceDataset(one, size, seed=seed, expected_px=own) for name, one in given.items() if one}

    def make_trainer(self, data: Mapping[str, FaceDataset], folder: RunFolder, processes: Processes) -> Distiller:
        """A trainer over a fresh network and the pair's generators, which stay as they are."""
        if processes.first and not self.photos:
            folder.note("no --photos: the discriminator learns from photographs that the pair draws")
        if processes.first and self.identity.reason:
            folder.note(f"identity between render and translation is not measured: {self.identity.reason}")
        return Distiller(
            Translator(self.network),
            self.pair.generator("rendering", self.device),
            self.pair.generator("real", self.device),
            data["renders"],
            data.get("photos"),
            self.trunk.load(self.device),
            self.options,
            self.device,
        )

    def observe(self, trainer: Distiller, tick: Tick) -> Observation:
        """Losses as they enter the sum, identity; the same renders each time, and what `translate` makes of them."""
        o = self.options
        weights = {
            "loss/likeness": 1.0,
            "loss/coarse": o.coarse_weight,
            "loss/realism": o.adversarial_weight,
            "loss/discriminator": 1.0,
        }
        faces = scale_to_unit(trainer.renders.batch(0, o.sample_count).to(self.device))
        translated = translate(faces, trainer.average, TranslateOptions())
        identity = self.identity.measured(translated, faces)
        return Observation({"weighted": weighted(tick, weights), "identity": identity}, [faces, translated])

    def licences(self) -> dict[str, str]:
        """The terms of the pair's generators, of what judges and compares, and what is known of the pictures."""
        uses = [terms.of_pair(role, self.pair) for role in LOOKS] + self.trunk.uses
        return terms.in_words(uses + self.identity.uses) | TERMS_OF_PICTURES

    def encode_result(self, name: str, trainer: Distiller) -> dict[str, bytes]:
        """The files of the pair as it is, with the averaged network as its translator, which knows its range."""
        facts = {key: value for key, value in self.pair.facts.items() if key not in ("format", "networks")}
        return encode_beside(self.pair, {TRANSLATOR: trainer.result().cpu()}, {**facts, "name": name}, [*NETWORKS])
