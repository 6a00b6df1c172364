"""Every number of the method, each with where it comes from. The command line's defaults are these.

"Eq." and "B1" are the paper's; "facts" are the published configurations of StyleGAN2-ADA, PTI and FFHQ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NoiseMode = Literal["const", "none", "random"]
GeneratorRole = Literal["real", "rendering"]

PASTED_CLASSES = ("skin", "brows", "eyes", "eyeglasses", "ears", "nose", "mouth", "lips", "hair")
"""The nine parts of Appendix B."""

PART_CENTRES = ((0.40, 0.47), (0.60, 0.47), (0.50, 0.73))
"""Where FFHQ's alignment puts eyes and mouth: (x, y) as fractions of the crop's side."""

PART_FRAC = 0.25
"""Side of the square about each of them."""

MAX_PIXELS = 200_000_000
"""A picture with more pixels is refused before it is decoded."""

PROJECT_BATCH = 1
"""Faces projected at once."""

DEFAULT_PAIR = "studio"

Perception = Literal["auto", "lpips", "pair"]
"""The distance of Eq. 4: LPIPS-VGG, the pair's own stand-in, or auto: LPIPS-VGG where it is installed."""

ParserChoice = Literal["auto", "pair", "bisenet", "parsenet"]
"""The face parser; auto: the pair's own, else BiSeNet where it is installed, else the default pair's."""


@dataclass(frozen=True)
class DownloadOptions:
    """How patient a download is; sizes in bytes."""

    timeout_s: float = 30.0  # without a byte, then the connection counts as dead
    min_bytes_s: int = 1000  # as does one that is slower than this for so long
    attempts: int = 5  # a mirror, without progress
    backoff_s: float = 1.0  # before the second attempt; doubles with each
    backoff_max_s: float = 30.0
    block_bytes: int = 1024**2
    progress_bytes: int = 8 * 1024**2  # an attempt that got this far does not count as failed
    spare_bytes: int = 256 * 1024**2  # stay free on the disk
    max_bytes: int = 8 * 1024**3  # nothing larger is taken


@dataclass(frozen=True)
class FetchOptions:
    """How patiently pictures are fetched. A picture of 200 million pixels as JPEG takes some 100 MB."""

    attempts: int = 4
    wait_s: float = 1.0  # before the second attempt; twice as long before each further one
    timeout_s: float = 30.0  # of silence
    max_bytes: int = 256 * 1024**2


@dataclass(frozen=True)
class AlignOptions:
    """The FFHQ crop (facts: FFHQ's `recreate_aligned_images`)."""

    size: int | None = None  # side of the crop in pixels; None: the pair's resolution
    transform_size: int = 4096  # FFHQ samples at 4096 and shrinks to the output; caps the supersampling here
    supersample: int = 4  # samples a side and output pixel
    padding: bool = True  # reflect, blur and fade to the median where the quad leaves the picture
    detector: Literal["dlib", "retinaface"] = "dlib"
    upsample: int = 1  # times the picture is doubled before dlib looks for faces
    min_size_px: int = 32  # a face whose quad is smaller is not used
    max_detect_px: int = 2048  # larger pictures are shrunk to this longer side for detection


@dataclass(frozen=True)
class ProjectOptions:
    """Eq. 4 with PTI's schedule."""

    steps: int = 500  # Sec. 3.3
    lr: float = 0.01  # PTI's w_plus_projector
    noise_weight: float = 1e5  # lambda_n, Eq. 4
    prior_weight: float = 0.0  # of how unlike w+ is the codes of random z (arXiv:2012.09036); not in the paper
    lr_rampup: float = 0.05  # share of the steps in which the rate rises from 0
    lr_rampdown: float = 0.25  # share of the steps in which it falls back, by a cosine
    initial_noise: float = 0.05  # noise on the codes at the start, in units of w_std
    noise_ramp: float = 0.75  # share of the steps after which the codes are free of it
    adam_betas: tuple[float, float] = (0.9, 0.999)
    into: GeneratorRole = "rendering"
    seed: int = 0


@dataclass(frozen=True)
class WStatistics:
    """How w_avg and w_std are estimated (facts: the published projector)."""

    samples: int = 10_000
    seed: int = 123


@dataclass(frozen=True)
class DecodeOptions:
    """The same code through the realistic generator (Sec. 3.3)."""

    into: GeneratorRole = "real"
    noise_mode: NoiseMode = "const"  # n* is not used: G_real has its own constant noise
    truncation_psi: float = 1.0
    seed: int = 0  # of the noise, for noise_mode random


@dataclass(frozen=True)
class ParseOptions:
    """The pasted parts of Appendix B."""

    classes: tuple[str, ...] = PASTED_CLASSES


@dataclass(frozen=True)
class CompositeOptions:
    """Eq. B1. The paper leaves erosion and blur open; these were chosen by looking (docs/compositing.md)."""

    erode_frac: float = 0.02  # radius of the erosion, as a fraction of the quad's side
    feather_frac: float = 0.01  # sigma of the Gaussian, as a fraction of the quad's side
    color: Literal["none", "lab"] = "lab"
    color_spread: float = 0.5  # share of the difference in spread that "lab" takes over; means it takes over whole


@dataclass(frozen=True)
class TranslateOptions:
    """The change of a pair's distilled network, without inversion. Not in the paper."""

    strength: float = 1.0  # times the change that the network draws; 0 leaves the face as it is
    complexion: float = 0.5  # share of the change of hue of the face as a whole; neck and ears keep theirs
    sharpening: float = 0.12  # of what is finer than `fine_frac`, where the change is whole
    fine_frac: float = 0.006  # sigma of the Gaussian, as a fraction of the crop's side


@dataclass(frozen=True)
class DisturbOptions:
    """What real renders have and the generators' pictures lack; fractions are of the picture's side."""

    turn_rad: float = 0.12
    scale: float = 0.15
    shift: float = 0.03
    detail: float = 1.0  # of a real render's, at most
    exposure: tuple[float, float] = (0.7, 1.2)  # light is multiplied by it
    tint: float = 0.07  # of each colour's light
    uneven: float = 0.25  # of light, across the picture
    glints: int = 4  # at most, on the rendering alone
    glint: float = 0.8  # how bright at most, in [-1, 1]
    glint_frac: tuple[float, float] = (0.015, 0.09)  # sigma of the longer side


@dataclass(frozen=True)
class DistillOptions:
    """How a pair's feed-forward network is trained (after Viazovetskyi et al. 2020)."""

    batch: int = 8
    kimg: float = 16.0
    lr: float = 1e-3
    adam_betas: tuple[float, float] = (0.9, 0.99)
    warmup_kimg: float = 0.4  # in which the rate rises from 0; by a cosine it falls to 0 at the end
    ema_kimg: float = 2.0
    psi: tuple[float, float] = (0.7, 1.0)  # of the codes
    block: int = 64  # examples drawn at once
    uses: int = 6  # of each, every time disturbed anew
    coarse_weight: float = 1.0  # of L1 between means over squares
    coarse_frac: float = 1 / 32  # their side, as a fraction of the picture's
    adversarial_weight: float = 0.02
    adversarial_kimg: float = 4.0  # before which there is none
    adversarial_batch: int = 4  # real renders translated, and photographs
    d_lr: float = 1e-3
    precision: Literal["float32", "bfloat16"] = "float32"  # of the convolutions
    tick_kimg: float = 1.0
    range_faces: int = 2000  # renders by which the finished network knows its range
    seed: int = 0
    disturb: DisturbOptions = DisturbOptions()


@dataclass(frozen=True)
class LineOptions:
    """The stand-in for DeepFaceEditing's sketches: XDoG, chosen by looking at pairs of both looks."""

    sigma_frac: float = 0.006  # of the inner Gaussian, as a fraction of the picture's width: half a line's width
    ratio: float = 1.6  # outer to inner Gaussian, as in XDoG
    threshold: float = 0.015  # contrast that makes a line; below are shading and grain
    sharpness: float = 30.0  # phi of XDoG: how fast a line turns black
    floor: float = 0.1  # luminance below which contrast counts less: the noise of dark pixels


@dataclass(frozen=True)
class NetworkOptions:
    """Sizes of a network trained from scratch; the defaults are the published 1024² ones."""

    resolution: int = 1024
    channel_base: int = 32768
    channel_max: int = 512
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8


@dataclass(frozen=True)
class FinetuneOptions:
    """Sec. 3.2 and 4.1 over StyleGAN2-ADA's `stylegan2` configuration (facts 3)."""

    batch: int = 32
    kimg: float = 40.0
    lr: float = 2e-3
    adam_betas: tuple[float, float] = (0.0, 0.99)
    adam_eps: float = 1e-8
    gamma: float = 10.0  # R1 weight
    r1_interval: int = 16
    pl_weight: float = 2.0
    pl_interval: int = 4
    pl_decay: float = 0.01
    pl_batch_shrink: int = 2
    style_mixing: float = 0.9
    ema_kimg: float = 10.0
    aug: Literal["ada", "fixed", "none"] = "ada"
    aug_p: float = 0.0  # starting value, or the fixed one
    ada_target: float = 0.6
    ada_interval: int = 4
    ada_kimg: float = 100.0  # 500 from scratch
    mirror: bool = True
    jitter: float = 0.0  # shift and scale of the real images, as fractions: alignment's own error
    sketch_weight: float = 5e-6  # lambda_s, Eq. 3
    color_weight: float = 3.75e3  # lambda_c, Eq. 3
    sketch_max_px: int = 512  # Eq. 1
    color_px: int = 256  # Eq. 2
    color_blur_kernel: int = 13  # Eq. 2
    color_blur_sigma: float = 10.0  # Eq. 2
    freeze: bool = True  # mapping with w_avg, and ToRGB
    from_scratch: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False  # generators and discriminator by torch.compile
    accumulate: int = 1  # rounds a batch is split into
    batch_gpu: int | None = None  # images a device computes at once; None: all of its share of a round
    tick_kimg: float = 1.0
    sample_count: int = 16
    deterministic: bool = False
    seed: int = 0


SCRATCH = {"ada_kimg": 500.0, "freeze": False, "from_scratch": True, "sketch_weight": 0.0, "color_weight": 0.0}
"""What differs when a base generator is trained from scratch."""

LEAST_FOUND_PX = 16
"""Faces whose quad is smaller are no part of a data set; those between this and its limit are put aside, to be seen."""

LEAST_SIDE_FRAC = 0.5
"""A data set's limit on the side of a face's quad, as a fraction of the crop's: at most doubled when it is cut out."""


@dataclass(frozen=True)
class Limits:
    """What a face of a data set must have; the numbers were chosen on renders (docs/datasets.md)."""

    min_side_px: float  # of its quad in the source
    max_blur: float = 0.62  # 0 is sharp (Crété et al. 2007)
    min_score: float = 0.2  # of dlib's detector on the crop
    max_bits: int = 24  # of 256 in which two faces' hashes differ; more make them two faces


@dataclass(frozen=True)
class EvalOptions:
    """The protocol of Tables 1 and 2."""

    images: int = 50_000  # drawn for FID and KID
    codes: int = 2_000  # for identity
    compare_px: int = 256  # for LPIPS and L2; the paper does not say
    batch: int = 16
    kernel_subsets: int = 100  # KID (Binkowski et al. 2018)
    kernel_subset_size: int = 1000
