import math
from dataclasses import replace

import pytest
import torch

from refacer.errors import NoFace, ShapeMismatch, UsageError
from refacer.images.pixels import snap
from refacer.networks.parser import StudioParser
from refacer.networks.perceptual import DiscriminatorFeatures
from refacer.networks.translator import Translator, TranslatorConfig
from refacer.options import AlignOptions, CompositeOptions, DecodeOptions, ProjectOptions
from refacer.stages.composite import Blend
from refacer.stages.decode import decode
from refacer.stages.guided import Guided, run_guided
from refacer.stages.inversion import invert_each
from refacer.stages.pipeline import (
    FaceResult,
    Networks,
    Placed,
    RunOptions,
    composite_all,
    find_faces,
    invert_together,
    run,
)
from refacer.stages.project import Optimiser
from tests.tiny import tiny_discriminator, tiny_generator

QUICK = RunOptions(align=AlignOptions(size=16))


def face_at(x: float, y: float, eyes_px: float):
    """68 landmarks of an upright face: only eyes and mouth count."""
    points = [(x, y)] * 68
    points[36:42] = [(x - eyes_px / 2, y)] * 6
    points[42:48] = [(x + eyes_px / 2, y)] * 6
    points[48], points[54] = (x - eyes_px / 3, y + eyes_px), (x + eyes_px / 3, y + eyes_px)
    return tuple(points)


FACES = [face_at(40, 45, 12), face_at(90, 50, 18), face_at(130, 40, 2)]


@pytest.fixture(scope="module")
def networks() -> Networks:
    real, rendering = (tiny_generator(seed=seed, frozen=True) for seed in (0, 1))
    perceptual = DiscriminatorFeatures(tiny_discriminator(frozen=True))
    parser = StudioParser(channels=(4, 4), image_px=16, patch_px=4).eval().requires_grad_(False)
    assert parser.head.bias is not None
    parser.head.bias.view(-1, 16)[1] = 3.0
    return Networks(
        lambda image, options: list(FACES), parser, Optimiser(perceptual, 1.0, ProjectOptions(steps=3)), rendering, real
    )


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 3, 110, 140, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(scope="module")
def results(networks, image):
    steps = []
    found = run(image, networks, QUICK, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i, 6) for i in range(1, 7)]
    return found


def blend_of(result: FaceResult) -> Blend:
    assert result.blend is not None
    return result.blend


def codes_of(result: FaceResult) -> torch.Tensor:
    assert result.inversion is not None
    return result.inversion.codes


def test_every_face_large_enough_from_left_to_right(results):
    assert [(r.found.index, r.found.count) for r in results] == [(0, 2), (1, 2)]
    assert [r.found.landmarks for r in results] == FACES[:2]
    assert all(math.dist(r.found.quad[0], r.found.quad[3]) > 32 for r in results)


def test_shapes_and_what_files_would_hold(results):
    for r in results:
        assert r.face.shape == r.real.shape == (1, 3, 16, 16)
        assert r.labels.shape == r.mask.shape == (1, 16, 16)
        assert codes_of(r).shape == (1, 6, 8)
        assert [row["step"] for row in r.inversion.trace] == [0, 1, 2]
        assert isinstance(r.inversion.trace[0]["distance"], float)
        for picture in (r.face, r.real):
            assert torch.equal(snap(picture), picture)
            assert picture.is_contiguous()


def test_the_picture_is_not_changed(networks, image):
    before = image.clone()
    run(image, networks, QUICK)
    assert torch.equal(before, image)


def test_a_face_does_not_depend_on_the_others(networks, image, results):
    alone = run(image, networks, replace(QUICK, faces="1"))
    assert [r.found.index for r in alone] == [1]
    assert torch.equal(codes_of(alone[0]), codes_of(results[1]))


def test_batches_find_the_same_codes(networks, results):
    faces = [r.face for r in results]
    together = invert_each(faces, networks.rendering, networks.inverter, batch=2)
    for found, wanted in zip(together, results, strict=True):
        torch.testing.assert_close(found.codes, codes_of(wanted), atol=1e-4, rtol=1e-4)
        assert len(found.trace) == 3


def test_faces_of_several_sizes_are_projected_in_their_order(networks, results):
    faces = [results[0].face, torch.zeros(1, 3, 32, 32), results[1].face]
    found = invert_each(faces, networks.rendering, networks.inverter, batch=3)
    for i, wanted in ((0, results[0]), (2, results[1])):
        torch.testing.assert_close(found[i].codes, codes_of(wanted), atol=1e-4, rtol=1e-4)


def test_faces_that_overlap_are_pasted_one_onto_the_other(image):
    quad = ((20.0, 20.0), (20.0, 84.0), (84.0, 84.0), (84.0, 20.0))
    options = CompositeOptions(feather_frac=0.1, color="none")
    white, black = torch.ones(1, 3, 8, 8), -torch.ones(1, 3, 8, 8)
    first, second = composite_all(image, [Placed(white, None, quad), Placed(black, None, quad)], options)
    edge = (second.alpha > 0.2) & (second.alpha < 0.8)
    expected = torch.lerp(first.pixels, -torch.ones_like(first.pixels), second.alpha)
    assert edge.any()
    assert torch.allclose(second.pixels, expected, atol=1e-5)


def test_without_a_parser_all_of_the_crop_is_pasted(networks, image):
    bare = replace(networks, parser=None)
    result = run(image, bare, replace(QUICK, faces="0"))[0]
    assert result.mask is None
    assert blend_of(result).alpha.max() > 0.99


def test_the_canvas_is_what_is_pasted_into(networks, image):
    canvas = torch.zeros_like(image)
    result = run(image, networks, replace(QUICK, faces="0"), canvas=canvas)[0]
    outside = (blend_of(result).alpha == 0).expand_as(blend_of(result).pixels)
    assert outside.any()
    assert bool((blend_of(result).pixels[outside] == 0).all())


def test_refusals(networks, image):
    with pytest.raises(NoFace):
        find_faces(image, lambda image, options: [], QUICK.align, "all")
    with pytest.raises(UsageError):
        find_faces(image, networks.detector, QUICK.align, "2")
    other = tiny_generator(w_dim=12)
    with pytest.raises(ShapeMismatch):
        run(image, replace(networks, rendering=other), QUICK)


def test_without_inversion_the_rendering_is_the_face_itself(networks, image):
    translator = Translator(TranslatorConfig(input_px=32, channels=(4, 4, 4, 4))).requires_grad_(False)
    translator.get_parameter("color.bias")[3] = 0.3  # more red everywhere
    bare = replace(networks, inverter=None, rendering=None, real=None, translator=translator)
    options = replace(QUICK, composite=CompositeOptions(paste="change"))
    for result in run(image, bare, options):
        assert result.inversion is None
        assert torch.equal(result.rendering, result.face)
        assert (result.real - result.face)[:, 0].mean() > 0.05
        assert result.blend is not None


def test_a_face_too_far_from_what_is_known_stays_as_it_is(networks, image, results):
    limit = min(result.apart for result in results)
    found = run(image, networks, replace(QUICK, limit=limit))
    assert [result.blend is None for result in found] == [result.apart > limit for result in results]
    assert [result.apart for result in found] == [result.apart for result in results]


def test_run_decodes_both_looks_for_a_change(networks, image, results):
    """`run` and its stages one by one give the same change; no strength leaves the picture as it is."""
    options = replace(QUICK, composite=CompositeOptions(paste="change"))
    changed = run(image, networks, options)
    wanted = snap(decode(codes_of(changed[0]), networks.rendering, DecodeOptions(into="rendering")))
    assert torch.equal(changed[0].rendering, wanted)
    placed = [Placed(r.real, r.mask, r.found.quad, r.rendering) for r in changed]
    for result, blend in zip(changed, composite_all(image, placed, options.composite), strict=True):
        assert torch.equal(blend_of(result).pixels, blend.pixels)
    assert not torch.equal(blend_of(changed[0]).pixels, blend_of(results[0]).pixels)
    still = run(image, networks, replace(QUICK, composite=CompositeOptions(paste="auto", strength=0.0)))
    for blend in map(blend_of, still):
        height, width = blend.pixels.shape[2:]
        assert torch.equal(blend.pixels, image[..., blend.top : blend.top + height, blend.left : blend.left + width])


def test_faces_of_several_pictures_share_batches_and_get_the_same_codes(networks, image, results):
    sizes = []

    def counting(faces, generator, *, progress=None):
        sizes.append(len(faces))
        return networks.inverter(faces, generator, progress=progress)

    found = [result.found for result in results]
    pictures = [(image, found), (image, found[:1])]
    together = invert_together(pictures, replace(networks, inverter=counting), replace(QUICK, batch=4))
    assert (sizes, [len(of) for of in together]) == ([3], [2, 1])
    for one, expected in zip([*together[0], *together[1]], [*results, results[0]], strict=True):
        assert torch.allclose(one.codes, codes_of(expected), atol=1e-3)
    done = run(image, networks, QUICK, found=found, inversions=together[0])
    assert all(torch.equal(codes_of(one), two.codes) for one, two in zip(done, together[0], strict=True))


def test_a_face_whose_code_its_neighbours_say_is_what_that_code_draws(networks, image, results):
    result = results[0]
    mask = None if result.mask is None else result.mask.float()
    guided = Guided(result.found, mask, 0.0, codes=codes_of(result))
    [found] = run_guided(image, [guided], replace(networks, inverter=None), QUICK)
    assert torch.equal(found.real, result.real)
    assert torch.equal(blend_of(found).pixels, blend_of(result).pixels)
    [far] = run_guided(image, [replace(guided, apart=2.0)], networks, replace(QUICK, limit=1.0))
    assert far.blend is None
