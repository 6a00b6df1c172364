"""CurricularFace's published backbone, from the cache."""

from __future__ import annotations

import torch

from refacer.errors import InputRefused
from refacer.networks.curricular_face import CurricularFace
from refacer.weights.cache import Installed
from refacer.weights.convert import NETWORK_FILE
from refacer.weights.loaders import read_network
from refacer.weights.states import filled_with

CURRICULAR_FACE = "curricularface"


def load_curricular_face(installed: Installed, device: torch.device) -> CurricularFace:
    """The network in eval mode; raises InputRefused where the file is damaged or another network's."""
    path = installed.path(NETWORK_FILE)
    state, _ = read_network(path, CURRICULAR_FACE)
    try:
        return filled_with(CurricularFace, state).to(device)
    except RuntimeError as error:
        raise InputRefused(f"{path}: its tensors do not fit {CURRICULAR_FACE}; pull or import it again") from error
