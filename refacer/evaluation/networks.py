"""Which networks `refacer eval` measures with: the published ones where they are installed, stand-ins that say so else.

No stand-in's number bears a published metric's name.
"""

from __future__ import annotations

from pathlib import Path

from refacer.equipment import Equipment
from refacer.networks.fid_features import FeatureNetwork
from refacer.networks.identity import IdentityNetwork
from refacer.networks.judge import KIND, Judge
from refacer.networks.perceptual import Perceptual
from refacer.weights.choices import choose
from refacer.weights.loaders import read_network


def feature_network(equipment: Equipment) -> FeatureNetwork:
    """Inception where torch-fidelity and `refacer weights pull inception` are there, or the stand-in."""
    chosen = choose("features")
    equipment.note(*chosen.uses)
    return chosen.load(equipment.device)


def identity_network(equipment: Equipment) -> IdentityNetwork:
    """CurricularFace where `refacer weights` has it, or dlib's network; both read dlib's landmarks."""
    chosen = choose("identity")
    equipment.note(*chosen.uses)
    return chosen.load(equipment.device)


def perceptual_network(equipment: Equipment) -> tuple[Perceptual, str]:
    """The distance of any two pictures, without a closer look at aligned faces, and what it is called.

    It is called LPIPS only where it is LPIPS.
    """
    chosen = equipment.choice("perceptual").whole()
    equipment.note(*chosen.uses)
    name = "perceptual_" + chosen.name.replace("-", "_") if chosen.stand_in else "lpips_vgg"
    return chosen.load(equipment.device), name


def load_judge(path: Path) -> Judge:
    """A trained judge of photographs, in eval mode and without gradients; raises InputRefused for another file."""
    state, config = read_network(path, KIND)
    judge = Judge(**config)
    judge.load_state_dict(state)
    return judge.eval().requires_grad_(False)
