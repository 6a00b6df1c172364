"""Which weights a call uses and under which terms; the strictest of them counts for the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from refacer.networks.encoders import EncoderConfig
from refacer.networks.hyperstyle import HyperConfig
from refacer.weights import cache, registry
from refacer.weights.pair_json import EFFICIENTNET
from refacer.weights.pairs import Pair
from refacer.weights.published import NETWORK_FILE


@dataclass(frozen=True)
class Use:
    """A weight in one role. sha256: of the file that is loaded; commercial: 'yes', 'unclear' or 'no'."""

    role: str
    name: str
    sha256: str
    licence: str
    commercial: str


def of_weight(role: str, name: str) -> Use:
    """An installed or packaged weight of the registry."""
    entry = registry.weight(name)
    sha256 = str(entry.sha256) if entry.package else cache.needed(name).record.files[NETWORK_FILE]
    return Use(role, name, sha256, entry.licence.title, entry.commercial)


def of_pair(role: str, pair: Pair, *, network: str | None = None) -> Use:
    """A network that a pair holds or names. network: its name in the pair, where that is not the role.

    It is one of the registry's that is installed, one that pair.json names, or the pair's own.
    """
    network = network or role
    sha256 = pair.sha256(network)
    owner = cache.owner_of(sha256)
    name = owner.record.name if owner else pair.weight_name(network)
    entry = registry.find(name)
    if entry:
        return Use(role, entry.name, sha256, entry.licence.title, entry.commercial)
    return Use(role, name or pair.name, sha256, pair.licence, pair.commercial)


def of_trunk(config: EncoderConfig | HyperConfig) -> list[Use]:
    """The network that an encoder looks through, where that is another's."""
    return [of_weight("what the encoder looks through", EFFICIENTNET)] if config.borrows_trunk else []


def of_file(role: str, path: Path, sha256: str) -> Use:
    """A file that the user named; its terms are known where it is a published one."""
    entry = registry.weight_with_hash(sha256)
    if entry is None:
        return Use(role, path.name, sha256, registry.UNSTATED, "unclear")
    return Use(role, entry.name, sha256, entry.licence.title, entry.commercial)


def in_words(uses: Iterable[Use]) -> dict[str, str]:
    """Licence and commercial use, for people, by role and name."""
    return {f"{use.role}: {use.name}": f"{use.licence}; commercial use: {use.commercial}" for use in uses}


def commercial_use(uses: Iterable[Use]) -> str:
    """Whether what these weights make may be used commercially."""
    return registry.strictest([use.commercial for use in uses])
