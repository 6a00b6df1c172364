import torch

from refacer.networks.perceptual import DiscriminatorFeatures
from refacer.networks.stylegan2.w_statistics import w_statistics
from refacer.options import II2SOptions, WStatistics
from refacer.stages.ii2s import II2S
from tests.tiny import tiny_discriminator, tiny_generator

OPTIONS = II2SOptions(steps=60, lr=0.05, prior_samples=500)


def test_a_face_is_found_again_and_the_prior_keeps_it_likely():
    generator = tiny_generator(noise=0.02)
    perceptual = DiscriminatorFeatures(tiny_discriminator())
    generator.mapping.w_avg.copy_(w_statistics(generator, WStatistics(samples=500))[0])
    wanted = generator.mapping(torch.randn(2, 8)).detach()
    faces = generator.synthesis(wanted, noise_mode="const").detach().clamp(-1, 1)
    found = II2S(perceptual, OPTIONS)(faces, generator)
    start = generator.synthesis(generator.mapping.w_avg.expand(2, 6, 8), noise_mode="const").detach()
    drawn = generator.synthesis(found.codes, noise_mode="const").detach()
    assert ((drawn - faces).square().mean((1, 2, 3)) < 0.5 * (start - faces).square().mean((1, 2, 3))).all()
    steps = []
    alone = II2S(perceptual, OPTIONS)(faces[1:], generator, progress=lambda done, total: steps.append((done, total)))
    torch.testing.assert_close(alone.codes, found.codes[1:], atol=1e-4, rtol=1e-3)
    assert steps == [(i, 60) for i in range(1, 61)]
    strict = II2S(perceptual, II2SOptions(steps=60, lr=0.05, prior_samples=500, prior_weight=100.0))(faces, generator)
    spread = (found.codes - generator.mapping.w_avg).norm()
    assert (strict.codes - generator.mapping.w_avg).norm() < 0.8 * spread
    assert all(parameter.requires_grad for parameter in generator.parameters())
