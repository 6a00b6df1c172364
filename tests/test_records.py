from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from refacer.files.artefacts import is_own, own_passport
from refacer.inverters.optimise import Optimise
from refacer.options import AlignOptions, CompositeOptions, DecodeOptions, ProjectOptions
from refacer.records import Records, like
from refacer.types import CropTransform, Passport, SourceInfo

FACE = SourceInfo(64, 64, "ab" * 32)


@pytest.fixture
def settings() -> dict[str, Any]:
    """How the stand-in looks; a test may change it."""
    return {"network": "some", "parts": {"side_px": 64, "weight": 0.3}}


@pytest.fixture
def records(settings) -> Records:
    session = SimpleNamespace(
        w_std=1.5,
        resolution=64,
        detector_models=lambda: {"landmarks": "sha"},
        perceptual_models=lambda: {"perceptual": "sha of perceptual"},
        perceptual_settings=lambda: settings,
        parser_models=lambda: {"parser": "sha of parser"},
        generator_sha256=lambda role, *, drawing: f"sha of {role}",
    )
    return Records(session)  # pyright: ignore[reportArgumentType]


def optimise(records: Records, init: Any = None, **options: Any) -> Optimise:
    """Eq. 4 with other options than the defaults."""
    chosen = ProjectOptions(**options)
    session = SimpleNamespace(**vars(records.equipment), init=init, project_options=lambda into: chosen)
    return Optimise(session, "optimise", chosen.into)  # pyright: ignore[reportArgumentType]


def test_records_survive_a_passport(records):
    made = (
        records.align(AlignOptions(), 64, faces="all", count=2),
        records.project(optimise(records, np.ones((1, 2, 3), np.float32)), FACE),
        records.decode(DecodeOptions()),
        records.composite(CompositeOptions(), "none"),
    )
    passport = own_passport(FACE)
    passport = replace(passport, faces=(replace(passport.faces[0], stages=made),))
    assert Passport.from_json(passport.to_json()) == passport


def test_what_changes_pixels_changes_the_record(records, settings):
    project = records.project(optimise(records), FACE)
    assert project.models == {"rendering": "sha of rendering", "perceptual": "sha of perceptual"}
    assert project.seed == 0
    for other in ({"seed": 1}, {"steps": 3}, {"into": "real"}):
        assert not like([project], [records.project(optimise(records, **other), FACE)])
    assert not like([project], [records.project(optimise(records, np.zeros((1, 2, 3), np.float32)), FACE)])
    assert not like([project], [records.project(optimise(records), SourceInfo(32, 32, FACE.sha256))])
    settings["parts"] = {"side_px": 64, "weight": 0.5}
    assert not like([project], [records.project(optimise(records), FACE)])
    settings["parts"]["weight"] = 0.3
    assert like([project], [records.project(optimise(records), replace(FACE, sha256="other"))])
    assert project != records.project(optimise(records), replace(FACE, sha256="other"))


def test_the_seed_of_a_drawing_counts_only_for_random_noise(records):
    assert records.decode(DecodeOptions(seed=1)) == records.decode(DecodeOptions(seed=2))
    assert records.decode(DecodeOptions(noise_mode="random", seed=1)).seed == 1


def test_largest_is_recorded_only_where_it_left_faces_out(records):
    alone, among = (records.align(AlignOptions(), 64, faces="largest", count=count) for count in (1, 2))
    assert alone == records.align(AlignOptions(), 64, faces="all", count=1)
    assert among.parameters["faces"] == "largest"


def test_a_face_without_passport_is_its_own_source():
    passport = own_passport(FACE)
    assert is_own(passport)
    face = passport.faces[0]
    assert np.allclose(CropTransform(face.quad, face.crop_size).source_from_crop, [[1, 0, 0], [0, 1, 0]])
    assert not is_own(replace(passport, source=SourceInfo(100, 64, FACE.sha256)))
