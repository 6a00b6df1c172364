"""Networks of others from installed weights and packages: a loader for each, which `choices.py` names in its table.

Every file is verified against its record before it is read; nothing is downloaded here. A loader raises WeightsMissing
where a file is not installed, InputRefused where it is damaged or another network's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from refacer.errors import InputRefused
from refacer.networks.clip import Clip, ClipConfig
from refacer.networks.curricular_face import CurricularFace
from refacer.networks.efficientnet import EfficientNetFeatures, LookingThrough
from refacer.networks.encoders import FaceEncoder
from refacer.networks.fid_features import EfficientNetPooled, InceptionFeatures
from refacer.networks.hyperstyle import HyperStyle
from refacer.networks.identity import CurricularFaceIdentity, DlibIdentity
from refacer.networks.landmarks import DlibLandmarks, RetinaFaceLandmarks
from refacer.networks.parser import BiSeNetParser, ParseNetParser
from refacer.networks.perceptual import LpipsVgg
from refacer.networks.sketch import DeepFaceSketch
from refacer.weights import cache
from refacer.weights.formats.states import filled_with
from refacer.weights.loaders import encoder_config, hyper_config, load_encoder, load_hyperstyle_of_pair, read_network
from refacer.weights.packages import verified_path

NETWORK_FILE = "network.safetensors"
N = TypeVar("N")
M = TypeVar("M", bound=nn.Module)


def load_lpips(device: torch.device) -> LpipsVgg:
    """LPIPS-VGG over VGG16's trunk; its linear layers come with the lpips package and are verified too."""
    verified_path("lpips-vgg")
    return _build("vgg16", lambda state, _: LpipsVgg(state)).to(device).eval()


def load_bisenet(device: torch.device) -> BiSeNetParser:
    """The parser of the paper's Appendix B."""
    return _build("bisenet", lambda state, _: BiSeNetParser(state)).to(device)


def load_parsenet(device: torch.device) -> ParseNetParser:
    """facexlib's ParseNet, its classes in BiSeNet's order."""
    return _build("parsenet", lambda state, _: ParseNetParser(state)).to(device)


def load_retinaface(device: torch.device) -> RetinaFaceLandmarks:
    """The detector with 5 landmarks."""
    return _build("retinaface", lambda state, config: RetinaFaceLandmarks(state, config["network"], device))


def load_dlib_landmarks(_device: torch.device) -> DlibLandmarks:
    """dlib's detector with 68 landmarks; it works on the CPU. Its file of 100 MB is read once a process."""
    return _dlib_landmarks()


def load_curricular_face_identity(device: torch.device) -> CurricularFaceIdentity:
    """CurricularFace's cosine of two faces, aligned by dlib's landmarks."""
    return CurricularFaceIdentity(load_dlib_landmarks(device), load_curricular_face(device))


def load_dlib_identity(_device: torch.device) -> DlibIdentity:
    """dlib's distance of two faces; it works on the CPU."""
    return DlibIdentity(verified_path("dlib-landmarks"), verified_path("dlib-recognition"))


def load_efficientnet(device: torch.device, input_px: int = 256) -> EfficientNetFeatures:
    """EfficientNet-Lite0 as a perceptual network; larger pictures than `input_px` are shrunk to it."""
    state = torch.load(verified_path("efficientnet-lite0"), map_location="cpu", weights_only=True)
    return EfficientNetFeatures(state, input_px).eval().to(device)


def load_pair_encoder(path: Path) -> FaceEncoder:
    """The encoder of a pair, ready to look."""
    return with_trunk(load_encoder(path))


def load_pair_hyperstyle(path: Path) -> HyperStyle:
    """HyperStyle's networks of a pair, ready to look."""
    return with_trunk(load_hyperstyle_of_pair(path))


def with_trunk(network: M) -> M:
    """A network with what it looks through, where that is another's."""
    looking = [module for module in network.modules() if isinstance(module, LookingThrough)]
    if looking:
        trunk = load_efficientnet(torch.device("cpu"))
        for module in looking:
            module.look_through(trunk)
    return network


def load_efficientnet_pooled(device: torch.device) -> EfficientNetPooled:
    """EfficientNet-Lite0's pooled taps in place of Inception's features."""
    return EfficientNetPooled(load_efficientnet(device), device)


def load_inception(device: torch.device) -> InceptionFeatures:
    """The network of FID and KID, by torch-fidelity."""
    return _build("inception", lambda state, _: InceptionFeatures(state, device))


def load_curricular_face(device: torch.device) -> CurricularFace:
    """The identity network of the paper's Table 1, in eval mode."""
    return _build("curricularface", lambda state, _: filled_with(CurricularFace, state)).to(device)


def load_face_encoder(name: str, device: torch.device) -> FaceEncoder:
    """A published encoder into FFHQ's W+: pSp, e4e or ReStyle, by its name in the registry."""

    def build(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> FaceEncoder:
        network = encoder_config(config["network"])
        average = state["latent_avg"] * float(config["options"].get("start_from_latent_avg", True) is not False)
        return filled_with(
            lambda: FaceEncoder(network), {**state, "latent_avg": average.expand(network.num_ws, network.w_dim)}
        )

    return _build(name, build).to(device)


def load_hyperstyle(device: torch.device) -> HyperStyle:
    """HyperStyle from its two files: the hypernetwork, and the encoder into W with its average code."""

    def with_encoder(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> HyperStyle:
        def build(hyper: Mapping[str, Tensor], about: Mapping[str, Any]) -> HyperStyle:
            network = hyper_config(about["network"], config["network"])
            average = state["latent_avg"].expand(network.num_ws, network.w_dim)
            return filled_with(lambda: HyperStyle(network), {**hyper, **state, "latent_avg": average})

        return _build("hyperstyle", build)

    return _build("hyperstyle-w", with_encoder).to(device)


def load_clip(device: torch.device) -> Clip:
    """Pictures and texts in one space."""
    return _build("clip", lambda state, config: filled_with(lambda: Clip(ClipConfig(**config)), state)).to(device)


def load_sketch(device: torch.device) -> DeepFaceSketch:
    """The sketch extractor S of Eq. 1, frozen."""

    def build(state: Mapping[str, Tensor], _config: Mapping[str, Any]) -> DeepFaceSketch:
        network = DeepFaceSketch()
        network.load_state_dict(dict(state))
        return network.eval().requires_grad_(False)

    return _build("sketch", build).to(device)


@lru_cache(maxsize=1)
def _dlib_landmarks() -> DlibLandmarks:
    return DlibLandmarks(verified_path("dlib-landmarks"))


def _build(name: str, build: Callable[[Mapping[str, Tensor], Mapping[str, Any]], N]) -> N:
    """A network from an installed state; raises InputRefused where the state is another network's."""
    path = cache.needed(name).path(NETWORK_FILE)
    state, config = read_network(path, name)
    try:
        return build(state, config)
    except (RuntimeError, KeyError) as error:
        raise InputRefused(f"{path}: its tensors do not fit {name}") from error
