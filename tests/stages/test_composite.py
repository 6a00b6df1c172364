import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from refacer.errors import PassportMismatch, ShapeMismatch, UsageError
from refacer.images.color import lab_from_image
from refacer.images.pixels import paste_blend, tensor_from_rgb
from refacer.options import AlignOptions, CompositeOptions, Paste
from refacer.stages.align import align
from refacer.stages.composite import Blend, composite, erode, match_color
from refacer.types import CropTransform, Points

PLAIN = CompositeOptions(color="none")
SHARP = CompositeOptions(erode_frac=0.0, feather_frac=0.0, color="none")


def square(centre: tuple[float, float], side: float, degrees: float = 0.0) -> Points:
    """A quad NW, SW, SE, NE about a centre, turned clockwise as seen."""
    cosine, sine = math.cos(math.radians(degrees)) * side / 2, math.sin(math.radians(degrees)) * side / 2
    across, down = (cosine, sine), (-sine, cosine)
    signs = ((-1, -1), (-1, 1), (1, 1), (1, -1))
    return tuple((centre[0] + i * across[0] + j * down[0], centre[1] + i * across[1] + j * down[1]) for i, j in signs)


def smooth(height: int, width: int, seed: int = 0) -> Tensor:
    """A picture of low frequencies, about half of [-1, 1]."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)


def whole(image: Tensor, blend: Blend) -> tuple[Tensor, Tensor]:
    """The finished picture and its alpha."""
    finished, alpha = image.clone(), torch.zeros_like(image[:, :1])
    rows = slice(blend.top, blend.top + blend.alpha.shape[2])
    columns = slice(blend.left, blend.left + blend.alpha.shape[3])
    finished[:, :, rows, columns], alpha[:, :, rows, columns] = blend.pixels, blend.alpha
    return finished, alpha


def disc(size: int, radius_frac: float = 0.3) -> Tensor:
    place = (torch.arange(size) + 0.5) / size - 0.5
    return (place[None, :] ** 2 + place[:, None] ** 2 < radius_frac**2)[None, None]


@pytest.mark.parametrize("degrees", [0.0, 17.0, 90.0, -140.0])
@pytest.mark.parametrize(("side", "size"), [(100.0, 100), (100.0, 64), (60.0, 256), (150.0, 64)])
def test_the_crop_pasted_back_is_the_picture(degrees: float, side: float, size: int):
    image, quad = smooth(200, 220), square((105.3, 97.8), side, degrees)
    face = align(image, quad, size, AlignOptions())
    finished, alpha = whole(image, composite(image, face, None, quad, PLAIN))
    assert (finished - image).abs().max() < 0.02
    assert alpha[0, 0, 98, 105] > 0.999


def test_eq_b1_and_bits_outside():
    image, quad = smooth(160, 160, 1), square((80.0, 80.0), 90.0, 20.0)
    blend = composite(image, torch.ones(1, 3, 64, 64), disc(64), quad, PLAIN)
    finished, alpha = whole(image, blend)
    assert torch.equal(finished[(alpha == 0).expand_as(image)], image[(alpha == 0).expand_as(image)])
    assert torch.allclose(finished, alpha * 1.0 + (1 - alpha) * image, atol=1e-6)
    assert alpha.max() <= 1


@pytest.mark.parametrize(
    ("side", "erode_frac", "feather_frac"),
    [(200.0, 0.05, 0.0), (200.0, 0.0, 0.02), (200.0, 0.03, 0.01), (200.0, 0.02, 0.02), (1000.0, 0.03, 0.01)],
)
def test_the_mask_reaches_as_far_as_erosion_and_blur_say(side: float, erode_frac: float, feather_frac: float):
    radius_frac, middle, size = 0.3, round(0.75 * side), round(1.5 * side)
    quad, options = square((middle, middle), side), CompositeOptions(erode_frac, feather_frac, "none")
    image, mask = smooth(size, size), disc(256, radius_frac)
    _, alpha = whole(image, composite(image, torch.zeros(1, 3, 128, 128), mask, quad, options))
    place = torch.arange(size) - middle
    distance = (place[None, :] ** 2 + place[:, None] ** 2).sqrt()
    edge, slack = (radius_frac - erode_frac) * side, 3 + 0.005 * side
    assert alpha[0, 0][distance > edge + 3 * feather_frac * side + slack].max() == 0
    assert alpha[0, 0][distance < edge - 3 * feather_frac * side - slack].min() > 0.99
    if feather_frac:
        assert (alpha[0, 0, middle, middle:] > 0.5).sum().item() == pytest.approx(edge, abs=slack)


def test_the_defaults_paste_no_background():
    """At the mask's edge less than a twentieth of the new picture is left, one blur further out nothing."""
    options, side = PLAIN, 400.0
    quad, mask = square((250.0, 250.0), side), torch.zeros(1, 1, 400, 400)
    mask[..., 100:300, 100:300] = 1
    _, alpha = whole(smooth(500, 500), composite(smooth(500, 500), torch.zeros(1, 3, 400, 400), mask, quad, options))
    row = alpha[0, 0, 250, :250]
    assert row[150] < 0.05
    assert row[150 - round(options.feather_frac * side) - 2] == 0
    assert row[150 + round(2 * options.erode_frac * side + options.feather_frac * side)] > 0.99


def test_outside_the_crop_the_mask_is_zero_before_it_is_eroded():
    options = CompositeOptions(erode_frac=0.05, feather_frac=0.01, color="none")
    quad = square((100.0, 100.0), 100.0)
    _, alpha = whole(smooth(200, 200), composite(smooth(200, 200), torch.zeros(1, 3, 50, 50), None, quad, options))
    assert alpha[0, 0, 100, :52].max() == 0
    assert alpha[0, 0, 100, 60] > 0.99


def test_the_pictures_frame_is_no_edge_of_the_face():
    """A face that the frame cuts is pasted up to the frame, as if the picture went on."""
    large, quad = smooth(300, 300), square((120.0, 150.0), 100.0, 10.0)
    face, mask = smooth(64, 64, 3), disc(64, 0.4)
    finished, alpha = whole(large, composite(large, face, mask, quad, PLAIN))
    cut = large[:, :, :, 110:]
    shifted = tuple((x - 110, y) for x, y in quad)
    finished_cut, alpha_cut = whole(cut, composite(cut, face, mask, shifted, PLAIN))
    assert torch.allclose(alpha_cut, alpha[:, :, :, 110:], atol=1e-5)
    assert torch.allclose(finished_cut, finished[:, :, :, 110:], atol=1e-5)
    assert alpha_cut[0, 0, 150, 0] > 0.99


def test_a_face_larger_than_its_quad_is_filtered_first():
    """Stripes of one pixel at 512 become their mean at 64, not a pattern."""
    stripes = (torch.arange(512) % 2 * 2.0 - 1)[None, None, None, :].expand(1, 3, 512, 512)
    image = torch.zeros(1, 3, 100, 100)
    finished, alpha = whole(image, composite(image, stripes, disc(512, 0.4), square((50.0, 50.0), 61.3, 3.0), SHARP))
    assert (alpha == 1).sum() > 1500
    assert finished[(alpha == 1).expand_as(image)].abs().max() < 0.05


def test_mask_and_face_may_differ_in_size():
    image, quad = smooth(120, 120), square((60.0, 60.0), 80.0)
    fine = composite(image, smooth(64, 64, 2), disc(256), quad, PLAIN)
    coarse = composite(image, smooth(64, 64, 2), disc(64), quad, PLAIN)
    assert (fine.alpha - coarse.alpha).abs().max() < 0.25
    assert (fine.alpha - coarse.alpha).abs().mean() < 0.01


def test_an_empty_mask_changes_nothing():
    image, quad, options = smooth(100, 100), square((50.0, 50.0), 60.0), CompositeOptions(color="lab")
    blend = composite(image, torch.ones(1, 3, 32, 32), torch.zeros(1, 1, 32, 32), quad, options)
    assert torch.equal(whole(image, blend)[0], image)


@pytest.mark.parametrize(
    "quad",
    [
        square((500.0, 50.0), 60.0),
        square((50.0, 50.0), 0.2),
        square((50.0, 50.0), 1e6),
        ((0.0, 0.0), (0.0, 50.0), (50.0, 50.0), (80.0, 0.0)),
        ((50.0, 0.0), (50.0, 50.0), (0.0, 50.0), (0.0, 0.0)),
    ],
)
def test_a_quad_of_another_picture_is_a_mismatch(quad: Points):
    with pytest.raises(PassportMismatch):
        composite(smooth(100, 100), torch.zeros(1, 3, 32, 32), None, quad, PLAIN)


def test_erosion_is_by_a_disc():
    mask = torch.zeros(1, 1, 21, 21)
    mask[..., 3:18, 3:18] = 1
    mask[..., 10, 10] = 0
    eroded = erode(mask, 3.2)[0, 0]
    gone = ((torch.arange(21) - 10.0)[None, :] ** 2 + (torch.arange(21) - 10.0)[:, None] ** 2).sqrt() <= 3.2
    assert torch.equal(eroded[6:15, 6:15] == 0, gone[6:15, 6:15])
    assert eroded[:6].sum() == 0
    assert torch.equal(erode(mask, 0.5), mask)


def test_color_lab_gives_the_sources_mean():
    image, quad = smooth(120, 120) * 0.4, square((60.0, 60.0), 80.0)
    face = smooth(64, 64, 5) * 0.3 + torch.tensor([0.3, 0.0, -0.2])[:, None, None]
    plain = composite(image, face, disc(64), quad, PLAIN)
    matched = composite(image, face, disc(64), quad, CompositeOptions(color="lab"))
    source = composite(image, face, torch.zeros(1, 1, 64, 64), quad, PLAIN).pixels

    def distance(blend: Blend) -> float:
        inside = (blend.alpha > 0.999).float()
        difference = (lab_from_image(blend.pixels) - lab_from_image(source)) * inside
        return (difference.sum((2, 3)) / inside.sum()).norm().item()

    assert distance(plain) > 8
    assert distance(matched) < 0.2 * distance(plain)


def test_color_spread_is_damped():
    source = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(1)) * 0.1
    face, weight = source * 2.0, torch.ones(1, 1, 40, 40)
    matched = [match_color(face, source, weight, spread) for spread in (0.0, 0.5, 1.0)]
    spreads = [lab_from_image(image)[:, 0].std().item() for image in matched]
    wanted = lab_from_image(source)[:, 0].std().item()
    assert spreads[2] == pytest.approx(wanted, rel=0.02)
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_native_pixels_outside_the_mask_are_untouched(dtype: type, channels: int):
    top = np.iinfo(dtype).max
    native = np.random.default_rng(0).integers(0, top, (90, 100, channels), endpoint=True).astype(dtype)
    quad = square((50.0, 40.0), 60.0, 12.0)
    blend = composite(tensor_from_rgb(native[..., :3]), torch.ones(1, 3, 32, 32), disc(32), quad, PLAIN)
    before = native.copy()
    paste_blend(native, blend.top, blend.left, blend.pixels, blend.alpha)
    inside = whole(torch.zeros(1, 3, 90, 100), blend)[1][0, 0].numpy() > 0
    assert native.dtype == dtype
    assert np.array_equal(native[~inside], before[~inside])
    assert np.array_equal(native[..., 3:], before[..., 3:])
    assert (native[40, 50, :3] == top).all()


def test_the_inverse_is_exact():
    """One lit crop pixel lands where `source_from_crop` says."""
    quad, size = square((60.2, 49.7), 96.0, 30.0), 32
    face = -torch.ones(1, 3, size, size)
    face[:, :, 9, 20] = 1
    image = -torch.ones(1, 3, 110, 120)
    light = (whole(image, composite(image, face, None, quad, replace(SHARP)))[0][0, 0] + 1).clamp(min=0)
    y, x = torch.meshgrid(torch.arange(110.0), torch.arange(120.0), indexing="ij")
    centre = ((light * x).sum() / light.sum()).item(), ((light * y).sum() / light.sum()).item()
    assert centre == pytest.approx(tuple(CropTransform(quad, size).source_from_crop @ (20, 9, 1)), abs=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_picture():
    image, quad = smooth(160, 160, 1), square((80.0, 80.0), 90.0, 20.0)
    options = CompositeOptions(color="lab")
    here = composite(image, smooth(64, 64, 2), disc(64), quad, options)
    there = composite(image.cuda(), smooth(64, 64, 2).cuda(), disc(64).cuda(), quad, options)
    assert torch.allclose(there.pixels.cpu(), here.pixels, atol=1e-3)


CHANGE = CompositeOptions(paste="change")
AUTO = CompositeOptions(paste="auto")


def finished(image: Tensor, face: Tensor, quad: Points, options: CompositeOptions, **change: Tensor) -> Tensor:
    return whole(image, composite(image, face, disc(64, 0.4), quad, options, **change))[0]


def shifted(face: Tensor) -> Tensor:
    return face + torch.tensor([0.15, 0.0, -0.1])[:, None, None]


@pytest.mark.parametrize("paste", ["change", "auto"])
def test_strength_0_leaves_the_picture_bit_for_bit(paste: Paste):
    image, quad = smooth(160, 160, 1), square((80.3, 79.6), 90.0, 20.0)
    options = CompositeOptions(paste=paste, strength=0.0)
    assert torch.equal(finished(image, smooth(64, 64, 2), quad, options, rendering=smooth(64, 64, 3)), image)


def test_two_equal_pictures_are_no_change():
    image, quad = smooth(160, 160, 1), square((80.0, 80.0), 90.0, 20.0)
    drawn = align(image, quad, 64, AlignOptions())
    assert (finished(image, drawn, quad, CHANGE, rendering=drawn) - image).abs().max() < 1e-3


def test_a_change_of_colour_is_taken_over_and_bits_outside_stay():
    image, quad = smooth(160, 160, 1) * 0.5, square((80.0, 80.0), 90.0, 20.0)
    drawn = align(image, quad, 64, AlignOptions())
    options = replace(CHANGE, color="none")
    blend = composite(image, shifted(drawn), disc(64, 0.4), quad, options, rendering=drawn)
    changed, alpha = whole(image, blend)
    inside, outside = ((alpha > 0.999).expand_as(image), (alpha == 0).expand_as(image))
    assert torch.allclose(changed[inside], shifted(image)[inside], atol=0.01)
    assert torch.equal(changed[outside], image[outside])
    doubled = finished(image, shifted(drawn), quad, replace(options, strength=2.0), rendering=drawn)
    assert torch.allclose(doubled[inside], (2 * shifted(image) - image)[inside], atol=0.02)
    kept = finished(image, shifted(drawn), quad, CHANGE, rendering=drawn)
    red, wanted = ((each - image)[:, 0][inside[:, 0]].mean() for each in (kept, shifted(image)))
    assert 0.3 * wanted < red < 0.8 * wanted


def test_a_large_face_keeps_its_detail():
    """A face eight times as large as the generator's pictures has the source's own grain; a pasted one has none."""
    grain = torch.randn(1, 3, 700, 700, generator=torch.Generator().manual_seed(0)) * 0.05
    image, quad = (smooth(700, 700, 1) * 0.5 + grain).clamp(-1, 1), square((350.0, 350.0), 512.0, 10.0)
    drawn = align(image, quad, 64, AlignOptions())
    pasted, changed, both = (
        finished(image, shifted(drawn), quad, options, rendering=drawn) for options in (PLAIN, CHANGE, AUTO)
    )

    def sharpness(picture: Tensor) -> float:
        middle = picture[..., 250:450, 250:450]
        return (4 * middle[..., 1:-1, 1:-1] - middle[..., :-2, 1:-1] - middle[..., 2:, 1:-1]
                - middle[..., 1:-1, :-2] - middle[..., 1:-1, 2:]).abs().mean().item()  # fmt: skip

    assert sharpness(changed) == pytest.approx(sharpness(image), rel=0.03)
    assert sharpness(pasted) < 0.2 * sharpness(image)
    assert sharpness(both) > sharpness(pasted)


def test_fields_alone_are_a_change():
    image, quad = smooth(160, 160, 1) * 0.5, square((80.0, 80.0), 90.0)
    rows = torch.tensor([[1, 0, 0, 0.15], [0, 1, 0, 0], [0, 0, 1, -0.1]]).reshape(1, 12, 1, 1).expand(1, 12, 8, 8)
    blend = composite(image, smooth(64, 64, 2), None, quad, replace(AUTO, color="none"), fields=rows)
    changed, alpha = whole(image, blend)
    assert torch.allclose(torch.where(alpha > 0.999, changed - shifted(image), 0), torch.zeros(()), atol=3e-4)
    assert torch.equal(whole(image, composite(image, smooth(64, 64, 2), None, quad, CHANGE, fields=rows))[1], alpha)


def test_auto_is_the_face_where_it_was_drawn_and_the_change_elsewhere():
    """R is the picture on the left and something else on the right; P is another picture altogether."""
    image, quad = smooth(160, 160, 1), square((80.0, 80.0), 100.0)
    drawn, face = align(image, quad, 64, AlignOptions()), smooth(64, 64, 7)
    drawn[..., 32:] = -drawn[..., 32:].sign() * 0.9
    options = replace(AUTO, color="none")
    changed, pasted, both = (
        finished(image, face, quad, replace(options, paste=paste), rendering=drawn)
        for paste in ("change", "face", "auto")
    )
    left, right = (slice(None), slice(None), slice(60, 100), slice(50, 66)), (..., slice(60, 100), slice(100, 112))
    assert (both[left] - pasted[left]).abs().mean() < 0.1 * (changed[left] - pasted[left]).abs().mean()
    assert (both[right] - changed[right]).abs().mean() < 0.01
    assert torch.equal(finished(image, face, quad, options), pasted)


def test_the_face_alone_is_pasted_as_ever():
    """Eq. B1 bit for bit: neither a rendering nor the strength of a change matter to it."""
    image, quad, face = smooth(160, 160, 1), square((80.0, 80.0), 90.0, 20.0), smooth(64, 64, 2)
    blend = composite(image, face, disc(64), quad, CompositeOptions())
    again = composite(
        image, face, disc(64), quad, CompositeOptions(strength=0.3), rendering=smooth(64, 64, 3), fields=smooth(8, 8)
    )
    assert torch.equal(blend.pixels, again.pixels)


@pytest.mark.parametrize("strength", [math.nan, -0.1, math.inf, 11.0])
def test_a_strength_that_is_none_is_refused(strength: float):
    options = replace(CHANGE, strength=strength)
    with pytest.raises(UsageError, match="--strength"):
        finished(smooth(100, 100), smooth(64, 64), square((50.0, 50.0), 60.0), options, rendering=smooth(64, 64))


def test_a_change_that_nothing_tells_is_refused():
    with pytest.raises(UsageError, match="--paste change"):
        finished(smooth(100, 100), smooth(64, 64), square((50.0, 50.0), 60.0), CHANGE)
    with pytest.raises(ShapeMismatch, match="32x32"):
        finished(smooth(100, 100), smooth(64, 64), square((50.0, 50.0), 60.0), CHANGE, rendering=smooth(32, 32))
