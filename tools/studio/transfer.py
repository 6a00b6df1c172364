"""A pair at work on aligned faces, through the library's own stages; what the benchmark and the sheets share."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from refacer.engine import Refacer
from refacer.files import encode_codes, read_codes, write_atomic
from refacer.inverters.method import chosen_method
from refacer.networks.perceptual import Perceptual
from refacer.options import DecodeOptions, GeneratorRole
from refacer.stages.parse import parse
from refacer.stages.pipeline import decoded


@dataclass(frozen=True)
class Projected:
    """A face's code (1, num_ws, w_dim), how far its picture stayed from the face (Eq. 4), and the time it took."""

    codes: Tensor
    distance: float
    seconds: float


class Transfer:
    """A pair's networks and a store of codes.

    store: a folder in which found codes are kept for the next call; schedule: steps, lr and axes of `refacer project`,
    the pair's own where they are not given.
    """

    def __init__(self, name: str | None, *, device: str = "auto", store: Path | None = None, **schedule: Any) -> None:
        self.studio = Refacer(name, device, perceptual="pair", parser="pair", **schedule)
        self.equipment = self.studio.equipment
        self.pair, self.device = self.equipment.pair, self.equipment.device
        self.options = self.equipment.project_options()
        self.store = store

    @property
    def whole_perceptual(self) -> Perceptual:
        """The pair's distance on the CPU, for any two pictures: without a closer look at the parts of aligned faces."""
        return self.equipment.choice("perceptual").whole().load(torch.device("cpu"))

    def read(self) -> Self:
        """Read every network now, so that a broken file is found before minutes of work, not after."""
        _ = self.studio.networks()
        return self

    def project(self, name: str, face: Tensor, into: GeneratorRole) -> Projected:
        """Eq. 4 on a face (1, 3, S, S) from where the pair starts; `name` is what its code is kept under."""
        path = self.store / f"{self._key(into)}/{name}.npy" if self.store else None
        if path is not None and path.is_file():
            return self._kept(path)
        generator = self.equipment.generator(into)
        inverter = chosen_method(self.equipment, into).inverter()  # its networks are read before the clock starts
        began = time.perf_counter()
        found = inverter(face.to(self.device), generator)
        done = Projected(found.codes, float(found.distance[0]), time.perf_counter() - began)
        if path is not None:
            write_atomic(path, encode_codes(found.codes.cpu().numpy(), None))
            about = {"distance": done.distance, "seconds": done.seconds}
            write_atomic(path.with_suffix(".json"), json.dumps(about).encode())
        return done

    def draw(self, codes: Tensor, role: GeneratorRole) -> Tensor:
        """Pictures (N, 3, R, R) of codes (N, num_ws, w_dim) as they are, as files hold them."""
        return decoded(codes, self.equipment.generator(role), DecodeOptions(into=role))

    @property
    def decoding(self) -> DecodeOptions:
        """How found codes are decoded: with the pair's own psi."""
        return self.equipment.decode_options()

    def decode(self, codes: Tensor, psi: float | None = None) -> Tensor:
        """The realistic pictures of found codes (N, num_ws, w_dim), as files hold them; psi: the pair's own without."""
        options = self.decoding if psi is None else replace(self.decoding, truncation_psi=psi)
        return decoded(codes, self.equipment.real, options)

    def labels(self, faces: Tensor) -> Tensor:
        """uint8 class ids (N, S, S) by the pair's parser."""
        return parse(faces, self.equipment.parser)

    def random_codes(self, count: int, seed: int, psi: float) -> Tensor:
        """Codes (count, num_ws, w_dim) of random z, truncated by psi."""
        z = torch.randn(count, self.equipment.real.z_dim, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            ws = self.equipment.real.mapping(z.to(self.device))
        return self.equipment.real.mapping.w_avg.lerp(ws, psi)

    def _key(self, into: GeneratorRole) -> str:
        """What a code depends on besides the face."""
        method = chosen_method(self.equipment, into)
        about = json.dumps([self.pair.sha256(into), dict(method.models()), method.parameters()], sort_keys=True)
        return f"{into}-{hashlib.sha256(about.encode()).hexdigest()[:12]}"

    def _kept(self, path: Path) -> Projected:
        codes, _ = read_codes(path)
        about = json.loads(path.with_suffix(".json").read_text())
        return Projected(torch.from_numpy(codes).to(self.device), about["distance"], about["seconds"])
