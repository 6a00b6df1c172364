"""Texts to CLIP's tokens by its list of merges, which is published beside the network and is not part of refacer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from refacer.errors import InputRefused

END_OF_WORD = "</w>"
WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\w\s]|_)+")
HEADER = "#version"


class Tokens:
    """Byte-pair encoding (Sennrich et al. 2016) as CLIP has it. lines: of merges.txt, the most frequent pair first."""

    def __init__(self, lines: Sequence[str]) -> None:
        merges = [tuple(line.split()) for line in lines if line.strip() and HEADER not in line]
        if not merges or any(len(merge) != 2 for merge in merges):
            raise InputRefused("not a list of merges: every line has two parts")
        letters = list(_letters().values())
        words = [*letters, *(letter + END_OF_WORD for letter in letters), *map("".join, merges)]
        self._numbers = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
        self._ranks = {merge: rank for rank, merge in enumerate(merges)}

    @property
    def count(self) -> int:
        """How many tokens there are; the network's vocabulary must be as large."""
        return len(self._numbers)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text, between those of its start and its end."""
        letters = _letters()
        pieces = [
            piece
            for word in WORD.findall(" ".join(text.lower().split()))
            for piece in self._merged(tuple(letters[byte] for byte in word.encode()))
        ]
        return [self._numbers[piece] for piece in ("<|startoftext|>", *pieces, "<|endoftext|>")]

    def _merged(self, letters: tuple[str, ...]) -> list[str]:
        """A word's letters put together, pair by pair, in the order of the list."""
        parts = [*letters[:-1], letters[-1] + END_OF_WORD]
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            first = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if first not in self._ranks:
                break
            parts = _joined(parts, first)
        return parts


def _joined(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """Every place where the pair stands becomes one part."""
    found: list[str] = []
    for part in parts:
        if found and (found[-1], part) == pair:
            found[-1] += part
        else:
            found.append(part)
    return found


def _letters() -> dict[int, str]:
    """A printable character for each byte: its own where it has one, else one from 256 on."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return {byte: chr(byte) for byte in own} | {byte: chr(256 + i) for i, byte in enumerate(others)}
