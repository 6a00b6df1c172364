import numpy as np
import pytest

from refacer.engine import Refacer
from tools.studio.covered import THINGS, covered, treated

FACE = np.full((64, 64, 3), (200, 160, 140), np.uint8)


@pytest.mark.parametrize("thing", THINGS)
def test_a_thing_is_drawn_over_the_face_and_no_more(thing):
    drawn = covered(FACE, thing)
    changed = (drawn != FACE).any(2).mean()
    assert drawn.shape == FACE.shape
    assert 0.01 < changed < 0.5


@pytest.mark.parametrize("way", ["project", "translate"])
def test_a_face_is_given_back_in_its_own_place(pair, way):
    drawn = covered(FACE, "glasses")
    given = treated(drawn, Refacer(pair, "cpu", way=way))
    assert given.shape == drawn.shape
    assert (given != drawn).any()
