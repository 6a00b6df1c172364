"""What the numbers of a tick are: the unit of each and a few words, for report.html."""

from __future__ import annotations

NO_UNIT = "no unit"

TERMS: dict[str, tuple[str, str]] = {
    "loss/generator": ("nats", "adversarial loss of the generator"),
    "loss/discriminator": ("nats", "adversarial loss of the discriminator"),
    "loss/sketch": ("sum of |differences|", "Eq. 1, between the two sketches of a code, as at 512 pixels"),
    "loss/color": ("perceptual distance", "Eq. 2, between the two blurred pictures of a code"),
    "loss/r1": ("squared gradient norm", "of the discriminator's verdict at real pictures"),
    "loss/path_length": ("squared deviation", "of the path length from its mean"),
    "signs/real": ("mean sign, −1 to 1", "of the discriminator's verdicts on real pictures; ADA watches it"),
    "signs/fake": ("mean sign, −1 to 1", "of the discriminator's verdicts on generated pictures"),
    "augment_p": ("probability, 0 to 1", "ADA's p, of each augmentation"),
    "seconds_per_kimg": ("seconds per kimg", "time for a thousand images"),
    "sketch": ("share of the adversarial one", "gradient of the weighted sketch loss"),
    "color": ("share of the adversarial one", "gradient of the weighted colour loss"),
    "identity_distance_dlib": ("distance", "between a code's two faces; below 0.6 is one person for dlib's network"),
    "identity_similarity_curricularface": ("cosine", "between a code's two faces; 1 is the same face"),
    "codes_with_faces": ("codes", "of the first eight in which both pictures show a face"),
}


def unit_of(name: str) -> str:
    """The unit of a value, for its axis."""
    return TERMS.get(name, (NO_UNIT, ""))[0]


def about(name: str) -> str:
    """What a value is; empty for one that is not known here."""
    return TERMS.get(name, (NO_UNIT, ""))[1]
