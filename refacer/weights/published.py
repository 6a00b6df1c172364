"""Networks of others from installed weights: LPIPS-VGG, face parsers, RetinaFace, sketch extractor, CurricularFace.

Every file is verified against its record before it is read; nothing is downloaded here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from refacer.errors import InputRefused, WeightsMissing
from refacer.networks.curricular_face import CurricularFace
from refacer.networks.identity import CurricularFaceIdentity, DlibIdentity, FaceFinder, IdentityNetwork
from refacer.networks.landmarks import RetinaFaceLandmarks
from refacer.networks.parser import BiSeNetParser, ParseNetParser
from refacer.networks.perceptual import LpipsVgg, Perceptual
from refacer.networks.sketch import DeepFaceSketch, LineExtractor, SketchExtractor
from refacer.weights import cache, registry
from refacer.weights.dlib_files import landmarks_path, recognition_path
from refacer.weights.efficientnet_file import EFFICIENTNET, load_efficientnet_features
from refacer.weights.formats.states import filled_with
from refacer.weights.loaders import read_network
from refacer.weights.packages import verified_package_path

NETWORK_FILE = "network.safetensors"
N = TypeVar("N")


def installed_sha256(name: str) -> str:
    """sha256 of an installed network's file, as its record says; raises WeightsMissing."""
    return _installed(name).record.files[NETWORK_FILE]


def require(names: list[str]) -> None:
    """Raise WeightsMissing, with the one command that mends it, where any of these weights is not installed."""
    missing = [name for name in dict.fromkeys(names) if not cache.installed(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise WeightsMissing(
            f"{', '.join(missing)}: {verb} not installed; run `refacer weights pull {' '.join(missing)}`"
        )


def load_lpips(device: torch.device) -> LpipsVgg:
    """LPIPS-VGG over VGG16's trunk; its linear layers come with the lpips package and are verified too."""
    verified_package_path(registry.weight("lpips-vgg"))
    return _build("vgg16", lambda state, _: LpipsVgg(state)).to(device).eval()


def load_parser(name: str, device: torch.device) -> BiSeNetParser | ParseNetParser:
    """'bisenet' or 'parsenet'."""
    parser = {"bisenet": BiSeNetParser, "parsenet": ParseNetParser}[name]
    return _build(name, lambda state, _: parser(state)).to(device)


def load_retinaface(device: torch.device) -> RetinaFaceLandmarks:
    """The detector with 5 landmarks."""
    return _build("retinaface", lambda state, config: RetinaFaceLandmarks(state, config["network"], device))


def sketch_name() -> str:
    """What draws the sketches of Eq. 1, for the log: the published extractor where it is installed, or the stand-in."""
    found = cache.installed("sketch")
    return f"DeepFaceEditing, sha256 {found.record.source_sha256}" if found else "lines (XDoG stand-in)"


def sketch_extractor(device: torch.device) -> SketchExtractor:
    """The extractor of that name, frozen."""
    return load_sketch(device) if cache.installed("sketch") else LineExtractor().to(device)


def perceptual_name() -> str:
    """What compares colours in Eq. 2, for the log: LPIPS-VGG where it is installed, or the stand-in."""
    found = cache.installed("vgg16")
    return f"LPIPS-VGG, sha256 {found.record.source_sha256}" if found else "EfficientNet-Lite0 (stand-in)"


def perceptual_weight() -> str:
    """The registry's name of that network."""
    return "vgg16" if cache.installed("vgg16") else EFFICIENTNET


def perceptual_network(device: torch.device) -> Perceptual:
    """The network itself."""
    return load_efficientnet_features().to(device) if perceptual_weight() == EFFICIENTNET else load_lpips(device)


def identity_weight() -> str:
    """The registry's name of what compares faces: CurricularFace where it is installed, or dlib's network."""
    return "curricularface" if cache.installed("curricularface") else "dlib-recognition"


def identity_network(finder: FaceFinder, device: torch.device) -> IdentityNetwork:
    """The network of that name; finder: of dlib's 68 landmarks."""
    if identity_weight() == "curricularface":
        return CurricularFaceIdentity(finder, load_curricular_face(device))
    return DlibIdentity(landmarks_path(), recognition_path())


def load_curricular_face(device: torch.device) -> CurricularFace:
    """The identity network of the paper's Table 1, in eval mode."""
    return _build("curricularface", lambda state, _: filled_with(CurricularFace, state)).to(device)


def load_sketch(device: torch.device) -> DeepFaceSketch:
    """S of Eq. 1, frozen."""
    return _build("sketch", _sketch).to(device)


def _sketch(state: Mapping[str, Tensor], _config: Mapping[str, Any]) -> DeepFaceSketch:
    network = DeepFaceSketch()
    network.load_state_dict(dict(state))
    return network.eval().requires_grad_(False)


def _build(name: str, build: Callable[[Mapping[str, Tensor], Mapping[str, Any]], N]) -> N:
    """A network from an installed state; raises InputRefused where the state is another network's."""
    path = _path(name)
    state, config = read_network(path, name)
    try:
        return build(state, config)
    except (RuntimeError, KeyError) as error:
        raise InputRefused(f"{path}: its tensors do not fit {name}") from error


def _path(name: str) -> Path:
    return _installed(name).path(NETWORK_FILE)


def _installed(name: str) -> cache.Installed:
    require([name])
    found = cache.installed(name)
    if found is None:  # removed this very moment
        raise WeightsMissing(f"{name}: not installed")
    return found
