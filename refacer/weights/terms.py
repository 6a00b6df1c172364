"""Which weights a call uses and under which terms; the strictest of them counts for the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from refacer.options import ParserChoice, Perception
from refacer.weights import cache, registry
from refacer.weights.pairs import EFFICIENTNET, NETWORK_ROLES, Pair
from refacer.weights.published import installed_sha256


@dataclass(frozen=True)
class Use:
    """A weight in one role. sha256: of the file that is loaded; commercial: 'yes', 'unclear' or 'no'."""

    role: str
    name: str
    sha256: str
    licence: str
    commercial: str


def perceptual_weight(choice: Perception) -> str | None:
    """The weight that measures Eq. 4; None for the pair's stand-in."""
    wanted = choice == "lpips" or (choice == "auto" and cache.installed("vgg16"))
    return "vgg16" if wanted else None


def parser_weight(choice: ParserChoice, pair: Pair) -> str | None:
    """The weight that parses faces; None for the pair's own parser, or the default pair's."""
    if choice in ("bisenet", "parsenet"):
        return choice
    return "bisenet" if choice == "auto" and not pair.has("parser") and cache.installed("bisenet") else None


def of_weight(role: str, name: str) -> Use:
    """An installed or packaged weight of the registry."""
    entry = registry.weight(name)
    sha256 = str(entry.sha256) if entry.package else installed_sha256(name)
    return Use(role, name, sha256, entry.licence.title, entry.commercial)


def of_pair(role: str, pair: Pair) -> Use:
    """A network that a pair holds or names."""
    return _of_network(role, pair.sha256(role), pair)


def of_file(role: str, path: Path, sha256: str) -> Use:
    """A file that the user named; its terms are known where it is a published one."""
    entry = registry.weight_with_hash(sha256)
    if entry is None:
        return Use(role, path.name, sha256, registry.UNSTATED, "unclear")
    return Use(role, entry.name, sha256, entry.licence.title, entry.commercial)


def of_perceptual(choice: Perception, pair: Pair) -> list[Use]:
    """What measures Eq. 4: LPIPS is two files, a stand-in one."""
    name = perceptual_weight(choice)
    if name:
        return [of_weight("perceptual", name), of_weight("lpips", "lpips-vgg")]
    if pair.facts["perceptual"].get("network") == EFFICIENTNET:
        return [of_weight("perceptual", EFFICIENTNET)]
    return [of_pair("perceptual", pair)]


def of_parser(choice: ParserChoice, pair: Pair) -> Use:
    """What parses the new face."""
    name = parser_weight(choice, pair)
    return of_weight("parser", name) if name else of_pair("parser", pair.parser_owner())


def of_detector(detector: str) -> Use:
    """What finds the faces."""
    return of_weight("landmarks", "dlib-landmarks") if detector == "dlib" else of_weight("detector", detector)


def of_run(pair: Pair) -> list[Use]:
    """All that `refacer run` uses with this pair, other options at their defaults; a file in two roles counts once."""
    uses = [of_pair(role, pair) for role in NETWORK_ROLES if pair.has(role)]
    if perceptual_weight("auto") or pair.has("discriminator") or not pair.judges_itself:
        uses += of_perceptual("auto", pair)
    uses += [of_parser("auto", pair), of_detector("dlib")]
    seen: dict[str, Use] = {}
    for use in uses:
        seen.setdefault(use.sha256, use)
    return list(seen.values())


def commercial_use(uses: Iterable[Use]) -> str:
    """Whether what these weights make may be used commercially."""
    return registry.strictest([use.commercial for use in uses])


def _of_network(role: str, sha256: str, pair: Pair) -> Use:
    """A network by its hash: one of the registry's that is installed, one that pair.json names, or the pair's own."""
    owner = cache.owner_of(sha256)
    name = owner.record.name if owner else pair.weight_name(role)
    entry = registry.find(name)
    if entry:
        return Use(role, entry.name, sha256, entry.licence.title, entry.commercial)
    return Use(role, name or pair.name, sha256, pair.licence, pair.commercial)
