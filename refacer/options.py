"""The numbers of the method, each with where it comes from; the command line's defaults are these.

"Eq.", "Sec." and "Appendix" are the paper's (README.md). Published configurations are those of StyleGAN2-ADA
(NVlabs/stylegan2-ada-pytorch on GitHub), of PTI's projector (danielroich/PTI) and of FFHQ's alignment
(NVlabs/ffhq-dataset).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from refacer.errors import UsageError

NoiseMode = Literal["const", "none", "random"]
GeneratorRole = Literal["real", "rendering"]

PASTED_CLASSES = ("skin", "brows", "eyes", "eyeglasses", "ears", "nose", "mouth", "lips", "hair")
"""The nine parts of Appendix B."""

CHANGED_CLASSES = (*PASTED_CLASSES, "neck")
"""The parts whose look a change alters: there must be no step at the chin."""

PART_CENTRES = ((0.40, 0.47), (0.60, 0.47), (0.50, 0.73))
"""Where FFHQ's alignment puts eyes and mouth: (x, y) as fractions of the crop's side."""

PART_FRAC = 0.25
"""Side of the square about each of those centres, as a fraction of the crop's."""

MAX_PIXELS = 200_000_000
"""A picture with more pixels is refused before it is decoded."""

PROJECT_BATCH = 1
"""Faces projected at once."""

DEFAULT_PAIR = "studio"

Perception = Literal["auto", "lpips", "pair"]
"""The distance of Eq. 4: LPIPS-VGG, the pair's own stand-in, or auto: LPIPS-VGG where it is installed."""

ParserChoice = Literal["auto", "pair", "bisenet", "parsenet"]
"""The face parser; auto: the pair's own, else BiSeNet where it is installed, else the default pair's."""

Precision = Literal["float32", "bfloat16"]
"""Of activations and convolutions; what is kept, codes and weights, stays float32."""

Axes = Literal["codes", "styles"]
"""What an optimisation moves: a code's own numbers, or steps along the axes of the styles that are made of it."""

Paste = Literal["change", "face", "auto"]
"""What goes into the picture: the change from look to look on its own pixels, the new face itself (Eq. B1), or the
face where the rendering generator drew the picture and the change elsewhere."""


INVERTERS = {
    "optimise": "optimise:Optimise",
    "ii2s": "ii2s:PriorOptimisation",
    "psp": "encode:Encode",
    "e4e": "encode:Encode",
    "restyle-psp": "encode:Encode",
    "restyle-e4e": "encode:Encode",
    "hyperstyle": "hyperstyle:Hyper",
    "linear": "encode:Encode",
}
"""The ways to a code by the names that --inverter takes, each with its module and class in refacer/inverters."""

Way = Literal["project", "translate"]
"""How a face becomes realistic: by inversion (the paper's), or by the pair's distilled network."""

RangeChoice = Literal["leave", "ignore"]
"""What to do with a face unlike those that the pair knows."""


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


PICTURE_DOWNLOAD = DownloadOptions(attempts=4, max_bytes=256 * 1024**2)
"""How patiently pictures are fetched. A picture of 200 million pixels as JPEG takes some 100 MB."""


@dataclass(frozen=True)
class AlignOptions:
    """The FFHQ crop, as `recreate_aligned_images` of the ffhq-dataset repository makes it."""

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
    prior_weight: float = 0.0  # of the latent prior (arXiv:2012.09036); 0 is the paper's loss
    lr_rampup: float = 0.05  # share of the steps in which the rate rises from 0
    lr_rampdown: float = 0.25  # share of the steps in which it falls back, by a cosine
    initial_noise: float = 0.05  # noise on the codes at the start, in units of w_std
    noise_ramp: float = 0.75  # share of the steps after which the codes are free of it
    adam_betas: tuple[float, float] = (0.9, 0.999)
    axes: Axes = "codes"  # what Adam moves: the codes' own numbers, as published, or steps along their styles' axes
    into: GeneratorRole = "rendering"
    precision: Precision = "float32"  # of the convolutions; float32 is repeatable from one machine to the next
    seed: int = 0

    def from_encoder(self) -> ProjectOptions:
        """The same from an encoder's codes: at the full rate at once, and without noise, which would lead away."""
        return replace(self, lr_rampup=0.0, initial_noise=0.0)

    def along_styles(self) -> ProjectOptions:
        """The same along the axes of the styles: Adam with a shorter memory, for fewer steps (docs/inversion.md)."""
        return replace(self, axes="styles", adam_betas=(0.8, 0.95), lr_rampup=0.0, initial_noise=0.0)

    def from_neighbour(self, follow: FollowOptions) -> ProjectOptions:
        """The same from the code of a face one frame earlier: fewer steps; 0 stays 0."""
        steps = math.ceil(self.steps * follow.steps_share)
        return replace(self.from_encoder(), steps=steps, lr=self.lr * follow.lr_share)


@dataclass(frozen=True)
class II2SOptions:
    """The published code of II2S (arXiv:2012.09036)."""

    steps: int = 1300
    lr: float = 0.01
    prior_weight: float = 0.001
    prior_samples: int = 100_000  # published: a million
    prior_floor: float = 1e-6  # of the mean variance; published: none
    adam_betas: tuple[float, float] = (0.9, 0.999)
    precision: Precision = "float32"
    seed: int = 0


@dataclass(frozen=True)
class WStatistics:
    """How w_avg and w_std are estimated, as in the published projectors."""

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
class TranslateOptions:
    """The change of a pair's distilled network, without inversion. Not in the paper."""

    strength: float = 1.0  # times the change that the network draws; 0 leaves the face as it is
    complexion: float = 0.5  # share of the change of the skin's mean hue; more leaves a pale head on a warm neck
    evenness: float = 0.6  # share of what the hue's change over the skin loses of its unevenness
    sharpening: float = 0.12  # of what is finer than `fine_frac`, where the change is whole
    fine_frac: float = 0.006  # sigma of the Gaussian, as a fraction of the crop's side


@dataclass(frozen=True)
class SequenceOptions:
    """How faces are followed and kept steady from frame to frame (docs/sequences.md). Not in the paper."""

    max_step: float = 0.5  # of a face's side, from where it is expected, in one frame
    max_growth: float = 0.35  # of the logarithm of its side
    look_weight: float = 1.0  # of its colours, in units of its side
    max_gap: int = 3  # frames in which a face may be missed
    min_frames: int = 3  # of a face; what is seen for less is none
    cut_change: float = 0.12  # of the picture, in [0, 1]: less is no cut
    cut_ratio: float = 4.0  # and than the usual change between frames
    landmark_reach: int = 6  # frames on either side that steady the landmarks
    max_shift: float = 0.03  # of a face's side: so far they may be moved
    change_reach: int = 8  # frames on either side that steady the change and its mask


@dataclass(frozen=True)
class FollowOptions:
    """How codes go on from frame to frame of a sequence by inversion (docs/sequences.md). Not in the paper."""

    steps_share: float = 0.3  # of the first frame's steps, from the last frame's code
    lr_share: float = 0.25  # of the first frame's rate
    code_reach: int = 6  # frames on either side that steady the codes
    shared_from_px: int = 128  # codes of layers from so many pixels on are one for all of a track


@dataclass(frozen=True)
class SDEditOptions:
    """SDEdit by DDIM, as the paper compares with it (Sec. 4.2.2)."""

    t0: float = 0.3  # share of the noise levels that is put on
    samples: int = 3  # of each face, of the seeds from `seed` on
    steps: int = 200  # of DDIM over all levels; t0 times as many are done
    seed: int = 0


@dataclass(frozen=True)
class ParseOptions:
    """The pasted parts of Appendix B."""

    classes: tuple[str, ...] = PASTED_CLASSES


@dataclass(frozen=True)
class ChangeOptions:
    """How the change from look to look is fitted; fractions are of the picture's side (docs/compositing.md)."""

    window_frac: float = 15 / 256  # side of the guided filter's windows
    epsilon: float = 3e-3  # its regularisation towards a gain of 1, a variance
    highlights: float = 0.5  # share that is taken away of light in x that R does not have
    highlight_frac: float = 3 / 256  # sigma of that light
    highlight_max: float = 0.5  # what is brighter by more is no light
    tint: float = 1.0  # share of P's tint that is taken over where R is like x
    tint_frac: float = 6 / 256  # sigma of that tint
    tint_trust: float = 0.15  # mean difference of x and R at which it counts exp(-1)
    cold_frac: float = 16 / 256  # sigma of the neighbourhood whose tint a place may stray from
    cold_max: float = 0.03  # so far towards cold
    face_trust: float = 0.04  # the same for P as a whole, for paste "auto"
    trust_frac: float = 6 / 256  # sigma of the mean difference
    kept_tint: float = 0.5  # share of the change's mean in CIELAB's a and b that color "lab" takes back
    border_frac: float = 0.12  # of the crop's side, in which a change fades out towards its border


@dataclass(frozen=True)
class CompositeOptions:
    """Eq. B1. The paper leaves erosion and blur open; these were chosen by looking (docs/compositing.md)."""

    erode_frac: float = 0.02  # radius of the erosion, as a fraction of the quad's side
    feather_frac: float = 0.01  # sigma of the Gaussian, as a fraction of the quad's side
    color: Literal["none", "lab"] = "lab"  # of a pasted face its mean, of a change part of its tint
    color_spread: float = 0.5  # share of the difference in spread that "lab" removes; the means it makes equal
    paste: Paste = "face"
    strength: float = 1.0  # of the change; 0 leaves the picture as it is
    change: ChangeOptions = field(default_factory=ChangeOptions)


@dataclass(frozen=True)
class Choices:
    """What a user may choose about the treatment of a picture: the options of `refacer run` by their own names.

    None leaves a value to the pair or, for `faces` and `size`, to the command.
    """

    faces: str | None = None  # all, largest, or numbers from the left: "0,2"
    size: int | None = None  # side of the crop in pixels
    detector: Literal["dlib", "retinaface"] = AlignOptions.detector
    min_size: int = AlignOptions.min_size_px
    inverter: str = "optimise"  # a name of INVERTERS
    steps: int | None = None
    lr: float | None = None
    noise_weight: float = ProjectOptions.noise_weight
    prior: float | None = None
    init: str | Path | None = None  # mean, encoder, or a .npy file of one code
    axes: Axes | None = None  # of an optimisation
    batch: int = PROJECT_BATCH
    perceptual: Perception = "auto"
    precision: Precision = ProjectOptions.precision  # of an optimisation
    generator: str | Path | None = None  # a file in place of the pair's realistic generator
    noise: NoiseMode = DecodeOptions.noise_mode
    psi: float | None = None
    classes: str | None = None  # names with commas; None: those of Appendix B, for a change the neck, too
    parser: ParserChoice = "auto"
    erode: float = CompositeOptions.erode_frac
    feather: float = CompositeOptions.feather_frac
    color: Literal["none", "lab"] | None = None  # None: lab, but none for what was translated
    mask: Literal["auto", "none"] = "auto"  # paste the parsed parts, or all of the crop
    paste: Paste | None = None
    strength: float | None = None  # of the change
    way: Way | None = None
    range: RangeChoice = "leave"  # a face unlike those that the pair knows
    seed: int = ProjectOptions.seed
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        """Raise UsageError for a value that means nothing, in the words of the command line."""
        hints = get_type_hints(type(self))
        for name, value in vars(self).items():
            option, words = f"--{name.replace('_', '-')} {value}", _words(hints[name])
            words = tuple(INVERTERS) if name == "inverter" else words
            if words and value not in words:
                raise UsageError(f"{option}: choose among {', '.join(str(word) for word in words if word)}")
            if name in LEAST and value is not None and not LEAST[name] <= value < math.inf:
                raise UsageError(f"{option}: must be a number from {LEAST[name]}")


LEAST = {
    **dict.fromkeys(("min_size", "batch", "max_pixels"), 1),
    **dict.fromkeys(("steps", "lr", "noise_weight", "prior", "erode", "feather", "strength", "seed"), 0),
    "size": 16,
}
"""The least that numbers of `Choices` may be."""


def _words(hint: Any) -> tuple[Any, ...]:
    """The words that a type allows, None among them where it may be None; empty for other types than Literal."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    literal = [part for part in parts if get_origin(part) is Literal]
    words = tuple(word for part in literal for word in get_args(part))
    return (*words, None) if literal and type(None) in parts else words


@dataclass(frozen=True)
class FileOptions:
    """How a command treats files, whatever it makes.

    output: a file, a folder, "-" for stdout, or None; report: gets a line of JSON an item; json: the report on stdout.
    """

    output: str | None = None
    force: bool = False
    report: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    fail_fast: bool = False


@dataclass(frozen=True)
class Call:
    """What was typed of a command: how files are treated, the pair and the device, what was chosen, and where workers
    are, None for this machine."""

    files: FileOptions
    pair: str | None = None
    device: str = "auto"
    choices: Choices = Choices()
    cluster: str | None = None


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
    glint: float = 0.9  # how bright at most, in [-1, 1]
    glint_frac: tuple[float, float] = (0.015, 0.13)  # sigma of the longer side


@dataclass(frozen=True)
class DistillOptions:
    """How a pair's feed-forward network is trained (after Viazovetskyi et al. 2020)."""

    batch: int = 16
    kimg: float = 36.0
    lr: float = 1e-3
    adam_betas: tuple[float, float] = (0.9, 0.99)
    warmup_kimg: float = 0.4  # in which the rate rises from 0; by a cosine it falls to 0 at the end
    ema_kimg: float = 4.0
    psi: tuple[float, float] = (0.7, 1.0)  # of the codes
    block: int = 64  # examples drawn at once
    uses: int = 6  # of each, every time disturbed anew
    coarse_weight: float = 4.0  # of L1 between means over squares
    coarse_frac: float = 1 / 8  # their side, as a fraction of the picture's
    adversarial_weight: float = 0.04
    adversarial_kimg: float = 8.0  # before which there is none
    adversarial_batch: int = 16  # real renders translated, and photographs
    d_lr: float = 1e-3
    precision: Precision = "float32"  # of the convolutions
    tick_kimg: float = 1.0
    range_faces: int = 2000  # renders by which the finished network knows its range
    sample_count: int = 16
    deterministic: bool = False
    seed: int = 0
    disturb: DisturbOptions = DisturbOptions()


EncoderName = Literal["psp", "e4e", "restyle-psp", "restyle-e4e"]
"""Published encoders of faces into W+."""

PairEncoderName = Literal["psp", "e4e", "restyle-psp", "restyle-e4e", "linear"]
"""Encoders of faces into W+ that a pair can carry."""

TrunkName = Literal["own", "efficientnet-lite0"]
"""What an encoder sees a face with: a trunk that learns beside it, or a network that has learned from ImageNet."""

TrainedName = Literal["psp", "e4e", "restyle-psp", "restyle-e4e", "hyperstyle", "linear"]
"""What `refacer train-encoder` trains."""


@dataclass(frozen=True)
class EncoderOptions:
    """How an encoder of faces into W+ is trained; weights and schedule are those published for FFHQ.

    pSp (arXiv:2008.00951), e4e (arXiv:2102.02766), ReStyle (arXiv:2104.02699), HyperStyle (arXiv:2111.15666). What they
    do not have is off.
    """

    kind: TrainedName = "e4e"
    trunk: TrunkName = "own"
    size: Literal["compact", "full"] = "compact"  # full: the published sizes
    looks: int | None = None  # of ReStyle and HyperStyle; None: 3, and 5 at the published sizes
    into: GeneratorRole = "rendering"
    batch: int = 8
    kimg: float = 200.0
    optimizer: Literal["ranger", "adam"] = "ranger"
    lr: float = 1e-4
    rate_falls: bool = False  # by a cosine to 0 at the end
    samples: float = 0.0  # share of a batch that are the generator's own pictures
    psi: tuple[float, float] = (0.7, 1.0)  # of their codes
    jitter: float = 0.0  # shift and scale of real pictures, as fractions: alignment's own error
    l2_weight: float = 1.0
    perceptual_weight: float = 0.8
    identity_weight: float = 0.1
    code_weight: float = 1.0  # of the distance to the own pictures' true codes, in units of the spread of w
    prior_weight: float = 0.0  # of the latent prior (arXiv:2012.09036)
    delta_weight: float = 2e-4  # e4e: of the norms of what is added to the first code
    adversarial_weight: float = 0.1  # e4e: of what the latent discriminator says
    d_lr: float = 2e-5
    d_gamma: float = 10.0  # R1 weight
    d_interval: int = 16  # of R1
    deltas_from: float = 1 / 15  # e4e: share of the run before the second code
    deltas_every: float = 1 / 150  # share of the run between two codes
    w_share: float = 0.4  # HyperStyle: of the run, in which its encoder into W learns; published: a run of its own
    compare_px: int = 256  # side at which pictures are compared
    precision: Precision = "float32"  # of the convolutions
    tick_kimg: float = 4.0
    sample_count: int = 16
    deterministic: bool = False
    seed: int = 0


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


RULES = {
    "paper": "paper:PaperRule",
    "agile": "agile:AgileRule",
    "nada": "nada:NadaRule",
    "image-guided": "image_guided:ImageGuidedRule",
}
"""Rules of fine-tuning by the names that --rule takes, each with its module and class in refacer/finetuning/rules."""


@dataclass(frozen=True)
class FinetuneOptions:
    """Sec. 3.2 and 4.1 over StyleGAN2-ADA's `stylegan2` configuration. rule: a name of RULES."""

    rule: str = "paper"
    init: Literal["real", "rendering"] = "real"  # the generator of the pair that is copied and trained
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
    similarity_weight: float = 0.5  # AgileGAN's: of LPIPS between both generators
    similarity_px: int = 256  # at which it sees them
    direction_weight: float = 1.0  # StyleGAN-NADA's: of the direction from source to copy
    source_count: int = 16  # pictures of the source from which examples differ in a direction
    text: str | None = None  # what the copy is to draw; None: the rule's
    source_text: str | None = None  # what the source draws
    freeze: bool = True  # what the rule freezes
    from_scratch: bool = False
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False  # generators and discriminator by torch.compile
    accumulate: int = 1  # rounds a batch is split into
    batch_gpu: int | None = None  # images a device computes at once; None: all of its share of a round
    tick_kimg: float = 1.0
    sample_count: int = 16
    range_faces: int = 0  # pictures by which the finished pair knows its range
    deterministic: bool = False
    seed: int = 0


SCRATCH = {"ada_kimg": 500.0, "freeze": False, "from_scratch": True, "sketch_weight": 0.0, "color_weight": 0.0}
"""What differs when a base generator is trained from scratch."""

DIRECTED: Mapping[str, Any] = {
    "batch": 2, "kimg": 0.602, "lr": 1.6e-3, "adam_betas": (0.0, 0.99**0.8), "ema_kimg": 0.0, "pl_weight": 0.0,
    "aug": "none", "sketch_weight": 0.0, "color_weight": 0.0,
}  # fmt: skip
"""StyleGAN-NADA's published example: 301 iterations of 2, Adam 0.002 times 4/5, no averaging."""

RULE_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "agile": {"batch": 8, "kimg": 12.8, "ema_kimg": 5.541, "sketch_weight": 0.0, "color_weight": 0.0},
    "nada": DIRECTED,
    "image-guided": DIRECTED,
}
"""What differs in a rule: AgileGAN's second stage as MMGEN-FaceStylor trains it, 1600 iterations of 8, an average that
keeps 0.999 an iteration."""

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
class DatasetOptions:
    """What `refacer dataset` is told: how faces are made, and what they must have to be kept.

    None leaves `size` to the pair, `min_size` to `size` and `jobs` to the processor. keep, drop: text files that name
    faces.
    """

    size: int | None = None  # side of the crops in pixels
    detector: Literal["dlib", "retinaface"] = AlignOptions.detector
    min_size: int | None = None  # least side of a face's quad in its picture, in pixels
    max_blur: float = Limits.max_blur
    min_score: float = Limits.min_score
    max_bits: int = Limits.max_bits
    keep: tuple[Path, ...] = ()
    drop: tuple[Path, ...] = ()
    pair: str | None = None
    device: str = "auto"
    max_pixels: int = MAX_PIXELS
    offline: bool = False
    jobs: int | None = None  # processes at work
    cluster: str | None = None  # where workers are; None: this machine

    @property
    def limits(self) -> dict[str, Any]:
        """The settings that decide which faces are kept, by name."""
        names = ("size", "detector", "min_size", "max_blur", "min_score", "max_bits")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class EvalOptions:
    """The protocol of Tables 1 and 2, and what `refacer eval` is told beside it."""

    images: int = 50_000  # drawn for FID and KID
    codes: int = 2_000  # for identity
    compare_px: int = 256  # for LPIPS and L2; the paper does not say
    batch: int = 16  # pictures at once
    kernel_subsets: int = 100  # KID (Binkowski et al. 2018)
    kernel_subset_size: int = 1000
    pair: str | None = None
    device: str = "auto"
    seed: int = 0  # of codes, noise and KID's subsets
    max_pixels: int = MAX_PIXELS


StudyForm = Literal["pairs", "all"]
"""What a question shows: one method's picture beside one other's, or those of all methods, as the paper's Fig. 6."""


@dataclass(frozen=True)
class StudyRule:
    """Whose votes do not count; fixed when a study is made, and part of it."""

    obvious_wrong: int = 0  # obvious trials that may be answered wrongly
    least_median_ms: int = 500  # of all answers: who is quicker does not look
    least_answered_percent: int = 50  # of the plan's questions


@dataclass(frozen=True)
class StudyOptions:
    """What `refacer study make` is told."""

    methods: tuple[str, ...] = ()  # names of folders; none are all
    focal: str | None = None  # None: "ours", else the first
    form: StudyForm = "pairs"
    cases: int = 10  # the paper's
    question: str = "Which face looks more like a photograph of a real person?"
    show_input: bool = False
    common: bool = False  # leave out faces that a method lacks
    size: int | None = None  # side of the pictures in pixels; None: the smallest one's, at most 512
    seed: int = 0
    rule: StudyRule = StudyRule()
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class AnalysisOptions:
    """How votes are counted."""

    alpha: float = 0.05
    bootstrap: int = 2000  # replicates, over people and cases
    ridge: float = 0.01  # on the choice model's strengths, against separation
    seed: int = 0


@dataclass(frozen=True)
class CompareOptions:
    """What `refacer compare` is told.

    against: sets for FID and KID; truth: a set of true photographs, by name; runs: the folders of methods that have
    one of their own, by the method's name; cluster: where workers are, None for this machine.
    """

    methods: tuple[str, ...] = ("ours", "direct")
    truth: Path | None = None
    against: tuple[Path, ...] = ()
    judge: Path | None = None
    runs: Mapping[str, Path] = field(default_factory=dict)
    pair: str | None = None
    device: str = "auto"
    steps: int | None = None
    seed: int = ProjectOptions.seed
    max_pixels: int = MAX_PIXELS
    cluster: str | None = None
