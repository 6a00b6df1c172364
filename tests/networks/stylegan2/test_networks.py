from pathlib import Path

import numpy as np
import pytest
import torch

from refacer.errors import ShapeMismatch
from refacer.networks.stylegan2.networks import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from tests.tiny import tiny_discriminator, tiny_generator

DATA = Path(__file__).parents[2] / "data"
SHAPE = {"img_resolution": 64, "channel_base": 1024, "channel_max": 48, "conv_clamp": 256.0}


def tensors(name):
    with np.load(DATA / f"stylegan2_64_{name}.npz") as arrays:
        return {key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype == np.float32}


@pytest.fixture(scope="module")
def io():
    return tensors("io")


@pytest.fixture(scope="module")
def reference_g():
    g = Generator(GeneratorConfig(z_dim=64, w_dim=64, mapping_layers=3, **SHAPE))
    g.load_state_dict(tensors("g"))
    return g


@pytest.fixture(scope="module")
def reference_d():
    d = Discriminator(DiscriminatorConfig(**SHAPE))
    d.load_state_dict(tensors("d"))
    return d


@pytest.fixture
def tiny_g():
    return tiny_generator(noise=0.3)


@pytest.fixture
def tiny_d():
    return tiny_discriminator()


def assert_near(got, expected, tolerance=1e-4):
    assert got.shape == expected.shape
    error = (got - expected).abs().max() / expected.abs().max()
    assert error.item() < tolerance


def test_mapping_matches_the_reference(reference_g, io):
    with torch.no_grad():
        assert_near(reference_g.mapping(io["z"]), io["w"], 1e-5)
        assert_near(reference_g.mapping(io["z"], 0.7), io["w_truncated_07"], 1e-5)
        assert_near(reference_g.mapping(io["z"], 0.5)[:, :4], io["w_truncated_05_cutoff4"][:, :4], 1e-5)


@pytest.mark.parametrize("modulate", ["weights", "activations", "auto"])
def test_synthesis_and_its_gradient_match_the_reference(reference_g, io, modulate):
    ws = io["w"].clone().requires_grad_()
    img = reference_g.synthesis(ws, modulate=modulate)
    assert_near(img.detach(), io["image_const"])
    weighted = img * torch.linspace(-1, 1, img.numel()).view_as(img)
    assert_near(torch.autograd.grad(weighted.sum(), ws)[0], io["grad_w"])


def test_synthesis_without_noise_matches_the_reference(reference_g, io):
    with torch.no_grad():
        img = reference_g(io["z"], truncation_psi=0.7, noise_mode="none")
    assert_near(img, io["image_none"])


def test_discriminator_and_r1_match_the_reference(reference_d, io):
    real = io["d_input"].clone().requires_grad_()
    logits = reference_d(real)
    assert_near(logits.detach(), io["d_logits"])
    (grad,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    r1 = grad.square().sum((1, 2, 3))
    assert_near(r1.detach(), io["r1"])
    (grad_fromrgb,) = torch.autograd.grad(r1.mean(), reference_d.get_parameter("b64.fromrgb.weight"))
    assert_near(grad_fromrgb, io["r1_grad_fromrgb"])


def test_bfloat16_is_close(reference_g, reference_d, io):
    with torch.no_grad():
        img = reference_g.synthesis(io["w"], dtype=torch.bfloat16)
        logits = reference_d(io["d_input"], dtype=torch.bfloat16)
    assert img.dtype == logits.dtype == torch.float32
    assert_near(img, io["image_const"], 0.04)
    assert_near(logits, io["d_logits"], 0.02)


@pytest.mark.parametrize(
    ("resolution", "channel_base", "num_ws", "parameters", "buffers", "keys", "d_parameters", "d_keys"),
    [
        (1024, 32768, 18, 30_370_060, 2_797_104, 182, 29_012_513, 82),
        (512, 32768, 16, 30_276_583, 699_904, 163, 28_982_849, 73),
        (256, 16384, 14, 24_767_458, 175_568, 144, 24_001_089, 64),
        (256, 32768, 14, 30_034_338, 175_568, 144, 28_864_129, 64),
    ],
)
def test_published_sizes(resolution, channel_base, num_ws, parameters, buffers, keys, d_parameters, d_keys):
    with torch.device("meta"):
        g = Generator(GeneratorConfig(img_resolution=resolution, channel_base=channel_base))
        d = Discriminator(DiscriminatorConfig(img_resolution=resolution, channel_base=channel_base))
    assert g.num_ws == num_ws
    assert sum(p.numel() for p in g.parameters()) == parameters
    assert sum(b.numel() for b in g.buffers()) == buffers
    assert len(g.state_dict()) == keys
    assert sum(p.numel() for p in d.parameters()) == d_parameters
    assert len(d.state_dict()) == d_keys


def test_published_names_and_shapes():
    with torch.device("meta"):
        g, d = Generator(GeneratorConfig()).state_dict(), Discriminator(DiscriminatorConfig()).state_dict()
    assert tuple(g["synthesis.b4.const"].shape) == (512, 4, 4)
    assert "synthesis.b4.conv0.weight" not in g
    assert tuple(g["synthesis.b128.conv0.weight"].shape) == (256, 512, 3, 3)
    assert tuple(g["synthesis.b128.conv0.affine.weight"].shape) == (512, 512)
    assert tuple(g["synthesis.b1024.torgb.weight"].shape) == (3, 32, 1, 1)
    assert tuple(g["synthesis.b1024.conv1.noise_const"].shape) == (1024, 1024)
    assert tuple(g["synthesis.b8.conv1.noise_strength"].shape) == ()
    assert tuple(d["b1024.fromrgb.weight"].shape) == (32, 3, 1, 1)
    assert tuple(d["b1024.skip.weight"].shape) == (64, 32, 1, 1)
    assert tuple(d["b4.conv.weight"].shape) == (512, 513, 3, 3)
    assert tuple(d["b4.fc.weight"].shape) == (512, 8192)


def test_fresh_networks_start_as_published(tiny_d):
    g = tiny_generator(z_dim=64, w_dim=64)
    assert g.get_parameter("mapping.fc0.weight").std().item() == pytest.approx(100, rel=0.1)
    assert torch.equal(g.get_parameter("synthesis.b8.conv0.affine.bias"), torch.ones(8))
    assert g.get_parameter("synthesis.b8.conv0.noise_strength").item() == 0
    assert torch.equal(tiny_d.get_parameter("b8.conv0.bias"), torch.zeros(8))


def test_truncation_towards_the_average(tiny_g):
    z = torch.randn(3, 8)
    tiny_g.mapping.w_avg.copy_(torch.randn(8))
    full = tiny_g.mapping(z)
    torch.testing.assert_close(tiny_g.mapping(z, 0.0), tiny_g.mapping.w_avg.expand_as(full))
    torch.testing.assert_close(tiny_g.mapping(z, 0.5), (tiny_g.mapping.w_avg + full) / 2)


def test_average_follows_the_batch_only_on_request(tiny_g):
    z = torch.randn(4, 8)
    w = tiny_g.mapping(z)[:, 0]
    assert torch.equal(tiny_g.mapping.w_avg, torch.zeros(8))
    tiny_g.mapping(z, update_w_avg=True)
    torch.testing.assert_close(tiny_g.mapping.w_avg, 0.005 * w.mean(0))


def test_noise_given_equals_noise_in_the_buffer(tiny_g):
    ws = tiny_g.mapping(torch.randn(2, 8))
    fresh = torch.randn(8, 8, requires_grad=True)
    given = tiny_g.synthesis(ws, noise={"b8.conv0.noise_const": fresh})
    batched = tiny_g.synthesis(ws, noise={"b8.conv0.noise_const": fresh.expand(2, 1, 8, 8)})
    before = tiny_g.synthesis(ws)
    tiny_g.synthesis.noise_buffers()["b8.conv0.noise_const"].copy_(fresh.detach())
    torch.testing.assert_close(given, tiny_g.synthesis(ws))
    torch.testing.assert_close(batched, given)
    assert not torch.allclose(before, given)
    assert torch.autograd.grad(given.square().sum(), fresh)[0].abs().sum() > 0


def test_random_noise_follows_its_generator(tiny_g):
    ws = tiny_g.mapping(torch.randn(1, 8))
    first, same, other = (
        tiny_g.synthesis(ws, noise_mode="random", generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_codes_of_one_layer_change_only_what_it_feeds(tiny_g):
    ws = tiny_g.mapping(torch.randn(1, 8)).detach().requires_grad_()
    x, _ = tiny_g.synthesis.blocks()[0](None, None, ws[:, :2], {"conv1": None}, "auto")
    touched = torch.autograd.grad(x.square().sum(), ws)[0][0].abs().sum(1)
    assert touched[0] > 0
    assert touched[1:].sum() == 0


def test_path_length_differentiates_twice(tiny_g):
    ws = tiny_g.mapping(torch.randn(2, 8))
    img = tiny_g.synthesis(ws)
    (grad,) = torch.autograd.grad((img * torch.randn_like(img)).sum(), ws, create_graph=True)
    grad.square().sum(2).mean(1).sqrt().sum().backward()
    for key, parameter in tiny_g.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), key
    assert tiny_g.get_parameter("synthesis.b16.conv0.weight").grad.abs().sum() > 0


def test_conv_clamp_bounds_activations_at_every_resolution():
    g = tiny_generator(conv_clamp=0.1)
    x, img = g.synthesis.blocks()[0](None, None, torch.randn(2, 2, 8), {"conv1": None}, "auto")
    assert x.abs().max().item() == pytest.approx(0.1)
    assert img.abs().max().item() <= 0.1 + 1e-6


def test_clamp_of_a_residual_branch_scales_with_its_gain():
    d = tiny_discriminator(conv_clamp=0.1)
    y = d.get_submodule("b8.conv1")(torch.randn(2, 8, 8, 8), gain=0.5)
    assert y.abs().max().item() == pytest.approx(0.05)


def test_features_halve_from_block_to_block(tiny_d):
    features = tiny_d.features(torch.randn(2, 3, 16, 16))
    assert [tuple(f.shape) for f in features] == [(2, 8, 8, 8), (2, 8, 4, 4)]


@pytest.mark.parametrize("shape", [(1, 5, 8), (1, 6, 9), (6, 8)])
def test_codes_of_another_shape_are_refused(tiny_g, shape):
    with pytest.raises(ShapeMismatch, match=r"codes have shape .*takes \(N, 6, 8\)"):
        tiny_g.synthesis(torch.zeros(shape))


def test_other_misfits_are_refused(tiny_g, tiny_d):
    with pytest.raises(ShapeMismatch, match=r"z has shape \(2, 9\)"):
        tiny_g.mapping(torch.zeros(2, 9))
    with pytest.raises(ShapeMismatch, match="pictures have shape"):
        tiny_d(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ShapeMismatch, match=r"b32\.conv0\.noise_const is unknown"):
        tiny_g.synthesis(torch.zeros(1, 6, 8), noise={"b32.conv0.noise_const": torch.zeros(32, 32)})
    with pytest.raises(ShapeMismatch, match="must be"):
        tiny_g.synthesis(torch.zeros(1, 6, 8), noise={"b8.conv0.noise_const": torch.zeros(4, 4)})
