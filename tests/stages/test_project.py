from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from refacer.errors import RefacerError, ShapeMismatch
from refacer.networks.perceptual import DiscriminatorFeatures
from refacer.networks.stylegan2.w_statistics import w_statistics
from refacer.options import ProjectOptions, WStatistics
from refacer.stages import project as module
from refacer.stages import replay
from refacer.stages.code_prior import code_prior
from refacer.stages.inversion import Inversion
from refacer.stages.project import Known, Optimiser, code_noise, learning_rate, project
from tests.tiny import tiny_discriminator, tiny_generator

WIDE: dict[str, Any] = {"channel_base": 256, "channel_max": 16}  # fewer channels hold too little to be found again


class Scene:
    """A tiny generator, its perceptual network, the spread of its codes, and a face decoded from a known code."""

    def __init__(self) -> None:
        self.perceptual = DiscriminatorFeatures(tiny_discriminator(**WIDE))
        self.generator = tiny_generator(noise=0.02, **WIDE)
        w_avg, self.w_std = w_statistics(self.generator, WStatistics(samples=500))
        self.generator.mapping.w_avg.copy_(w_avg)
        self.codes = self.generator.mapping(torch.randn(2, 8)).detach()
        self.faces = self.generator.synthesis(self.codes, noise_mode="const").detach().clamp(-1, 1)

    def project(self, given: Tensor | None = None, init: Tensor | None = None, **options: Any) -> Inversion:
        chosen = ProjectOptions(**{"steps": 8, **options})  # pyright: ignore[reportArgumentType]
        faces = self.faces[:1] if given is None else given
        return project(faces, self.generator, self.perceptual, self.w_std, chosen, init=init)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def test_a_face_is_found_again(scene: Scene) -> None:
    """Without n* the code alone must give the face back, as that is all the other generator gets (Sec. 3.3)."""

    def decoded(codes: Tensor) -> Tensor:
        return scene.generator.synthesis(codes, noise_mode="none").detach()

    face = decoded(scene.codes[:1])
    found = scene.project(face, steps=100, lr=0.05)
    assert float(found.distance) < 0.1 * found.trace[0]["distance"][0]
    average = decoded(scene.generator.mapping.w_avg.expand(found.codes.shape))
    assert (decoded(found.codes) - face).square().mean() < 0.3 * (average - face).square().mean()


def test_bfloat16_comes_as_near(scene: Scene) -> None:
    exact = scene.project(steps=60, lr=0.05)
    found = scene.project(steps=60, lr=0.05, precision="bfloat16")
    assert found.codes.dtype == torch.float32
    assert not torch.equal(found.codes, exact.codes)
    assert float(found.distance) < 1.2 * float(exact.distance)


def test_along_the_styles_fewer_steps_come_as_near(scene: Scene) -> None:
    along = ProjectOptions(steps=30, lr=0.1).along_styles()
    found = project(scene.faces, scene.generator, scene.perceptual, scene.w_std, along)
    published = scene.project(scene.faces, steps=60, lr=0.1)
    assert float(found.distance.sum()) < float(published.distance.sum())
    start = project(scene.faces, scene.generator, scene.perceptual, scene.w_std, replace(along, steps=0))
    assert torch.equal(start.codes, scene.generator.mapping.w_avg.expand(start.codes.shape))


def test_what_is_known_of_the_generator_changes_nothing(scene: Scene) -> None:
    options = ProjectOptions(steps=4, lr=0.1, prior_weight=0.1).along_styles()
    given = Optimiser(scene.perceptual, scene.w_std, options, known=Known.of(scene.generator, options))
    found = given(scene.faces[:1], scene.generator)
    anew = Optimiser(scene.perceptual, scene.w_std, options)(scene.faces[:1], scene.generator)
    assert torch.equal(found.codes, anew.codes)
    assert Known.of(scene.generator, ProjectOptions()) == Known()


def test_a_prior_keeps_codes_likely(scene: Scene) -> None:
    face = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1  # like nothing it draws
    free, kept = (scene.project(face, steps=40, lr=0.1, prior_weight=weight) for weight in (0.0, 0.1))
    prior = code_prior(scene.generator, WStatistics())
    assert float(prior(kept.codes)) < 0.5 * float(prior(free.codes))
    assert float(kept.distance) < kept.trace[0]["distance"][0]
    assert {row["prior"][0] for row in free.trace} == {0.0}
    assert kept.trace[-1]["prior"][0] == pytest.approx(float(prior(kept.codes)), rel=0.1)


def test_codes_are_w_plus(scene: Scene) -> None:
    codes = scene.project(steps=20).codes[0]
    assert (codes[1:] - codes[:-1]).abs().amax(1).min() > 1e-4


def test_two_runs_are_equal_bit_for_bit(scene: Scene) -> None:
    first, second = scene.project(), scene.project()
    assert torch.equal(first.codes, second.codes)
    assert first.trace == second.trace
    assert not torch.equal(first.codes, scene.project(seed=1).codes)


def test_a_face_does_not_depend_on_its_batch(scene: Scene) -> None:
    both = scene.project(scene.faces)
    for place in (0, 1):
        alone = scene.project(scene.faces[place : place + 1])
        torch.testing.assert_close(both.codes[place], alone.codes[0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(both.distance[place], alone.distance[0], rtol=1e-3, atol=1e-5)


def test_no_step_gives_back_the_start(scene: Scene) -> None:
    average = scene.generator.mapping.w_avg.expand(1, scene.generator.num_ws, 8)
    assert torch.equal(scene.project(steps=0).codes, average)
    found = scene.project(scene.faces, init=scene.codes, steps=0)
    assert torch.equal(found.codes, scene.codes)
    assert found.trace == []
    assert found.distance.shape == (2,)


def test_a_good_start_is_closer(scene: Scene) -> None:
    near = scene.project(init=scene.codes[:1], initial_noise=0.0)
    assert near.trace[0]["distance"][0] < 0.5 * scene.project(initial_noise=0.0).trace[0]["distance"][0]
    given = scene.codes[:1].clone()
    scene.project(init=given)
    assert torch.equal(given, scene.codes[:1])


def test_one_start_serves_a_batch(scene: Scene) -> None:
    found = scene.project(scene.faces, init=scene.codes[:1], steps=0)
    assert torch.equal(found.codes, scene.codes[:1].expand(2, -1, -1))


@pytest.mark.parametrize(
    ("step", "rate", "noise"),
    [  # by hand: lr 0.01, rise over 25 steps, fall over the last 125; noise 0.05 * 2 * (1 - t / 0.75)^2
        (0, 0.0, 0.1),
        (5, 0.002, 0.1 * (74 / 75) ** 2),
        (25, 0.01, 0.1 * (14 / 15) ** 2),
        (250, 0.01, 0.1 / 9),
        (375, 0.01, 0.0),
        (437.5, 0.005, 0.0),
        (500, 0.0, 0.0),
    ],
)
def test_schedule(step: float, rate: float, noise: float) -> None:
    options = ProjectOptions(steps=500)
    assert learning_rate(step / 500, options) == pytest.approx(rate, abs=1e-12)
    assert code_noise(step / 500, 2.0, options) == pytest.approx(noise, abs=1e-12)


def test_schedule_without_ramps() -> None:
    options = ProjectOptions(lr_rampup=0, lr_rampdown=0, noise_ramp=0)
    assert learning_rate(0, options) == options.lr
    assert code_noise(0, 1.0, options) == 0


def test_trace_and_progress_follow_every_step(scene: Scene) -> None:
    seen: list[tuple[int, int]] = []
    found = project(
        scene.faces,
        scene.generator,
        scene.perceptual,
        scene.w_std,
        ProjectOptions(steps=5),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert [row["step"] for row in found.trace] == [0, 1, 2, 3, 4]
    assert found.trace[0]["lr"] == 0
    assert found.trace[0]["code_noise"] == pytest.approx(0.05 * scene.w_std)
    assert all(len(row["distance"]) == len(row["noise_loss"]) == 2 for row in found.trace)


def test_networks_are_left_as_they_were(scene: Scene) -> None:
    before = {key: value.clone() for key, value in scene.generator.state_dict().items()}
    scene.generator.synthesis.requires_grad_(True)
    scene.generator.mapping.requires_grad_(False)
    scene.project()
    assert all(torch.equal(value, before[key]) for key, value in scene.generator.state_dict().items())
    assert all(parameter.requires_grad for parameter in scene.generator.synthesis.parameters())
    assert not any(parameter.requires_grad for parameter in scene.generator.mapping.parameters())
    assert all(parameter.grad is None for parameter in scene.generator.parameters())
    assert all(parameter.grad is None for parameter in scene.perceptual.parameters())


def test_works_where_gradients_are_off(scene: Scene) -> None:
    with torch.no_grad():
        assert torch.equal(scene.project().codes, scene.project().codes)


@pytest.mark.parametrize("side", [8, 24, 32])
def test_a_face_of_another_size_is_resampled(scene: Scene, side: int) -> None:
    face = torch.zeros(1, 3, side, side)
    found = scene.project(face, steps=2)
    same = scene.project(torch.zeros(1, 3, 16, 16), steps=2)
    torch.testing.assert_close(found.codes, same.codes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 3, 16, 8)])
def test_other_shapes_of_faces_are_refused(scene: Scene, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="square and RGB"):
        scene.project(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 4, 8), (1, 6, 7), (3, 6, 8), (6, 8)])
def test_other_shapes_of_codes_are_refused(scene: Scene, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="this generator takes"):
        scene.project(scene.faces, init=torch.zeros(shape))


def test_a_loss_that_is_not_finite_is_an_error_in_words(scene: Scene) -> None:
    with pytest.raises(RefacerError, match="not finite at step 0"):
        scene.project(init=torch.full((1, scene.generator.num_ws, 8), float("nan")))


@pytest.fixture
def no_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(module, "distance", refuse)
        yield


@pytest.mark.usefixtures("no_memory")
def test_lack_of_memory_is_the_callers(scene: Scene) -> None:
    scene.generator.synthesis.requires_grad_(True)
    with pytest.raises(torch.OutOfMemoryError):
        scene.project()
    assert all(parameter.requires_grad for parameter in scene.generator.synthesis.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_repeats_itself_and_starts_as_the_cpu_does() -> None:
    scene = Scene()
    on_cpu = scene.project(steps=4)
    scene.generator.cuda()
    scene.perceptual.cuda()
    first, second = (scene.project(scene.faces[:1].cuda(), steps=4) for _ in range(2))
    assert torch.equal(first.codes, second.codes)
    assert replay.WARM_UP < 4
    torch.testing.assert_close(first.trace[0]["distance"], on_cpu.trace[0]["distance"], rtol=1e-3, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("axes", ["codes", "styles"])
def test_recorded_steps_are_those_that_were_not(precision, axes, monkeypatch):
    """Rates and noise on the codes change from step to step; so must what a recorded step reads."""
    scene = Scene()
    scene.generator.cuda()
    scene.perceptual.cuda()
    options: dict[str, Any] = {"steps": 12, "lr": 0.1, "precision": precision, "axes": axes, "prior_weight": 0.1}
    recorded = scene.project(scene.faces.cuda(), **options)
    monkeypatch.setattr(replay, "WARM_UP", 100)
    taken = scene.project(scene.faces.cuda(), **options)
    assert torch.equal(recorded.codes, taken.codes)
    assert recorded.trace == taken.trace
