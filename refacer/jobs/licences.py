"""`refacer weights licence`, and licences shown and accepted before a first download."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict

import typer

from refacer import console
from refacer.errors import UsageError, WeightsMissing
from refacer.files import write_atomic
from refacer.files.json_text import parse_json
from refacer.weights import cache, registry
from refacer.weights.registry import Weight

VERDICTS = {"yes": "allowed", "unclear": "unclear: ask the authors", "no": "not allowed"}


def require_acceptance(entries: Iterable[Weight], *, accept: bool) -> None:
    """Show each licence that was not accepted here before, and ask; raises UsageError where the answer is no.

    Without a terminal nobody can be asked: then only `accept` will do.
    """
    known = set(_accepted())
    for terms in dict.fromkeys(entry.licence for entry in entries):
        if terms.url in known:
            continue
        names = [entry.name for entry in entries if entry.licence == terms]
        console.note(f"{', '.join(names)}: {terms.title}. {terms.terms} In full: {terms.url}")
        if not accept and not sys.stdin.isatty():
            raise UsageError(f"{', '.join(names)}: accept {terms.title} with --accept-licence; stdin is no terminal")
        if not accept and not typer.confirm(f"Accept {terms.title}?", err=True):
            raise UsageError(f"{', '.join(names)}: the licence was not accepted; nothing was downloaded")
        known.add(terms.url)
        write_atomic(cache.home() / "accepted.json", json.dumps(sorted(known), indent=1).encode() + b"\n")


def show_licence(name: str | None, as_json: bool) -> None:
    """Print the licence of every weight that a pair uses, or the terms of one weight."""
    entry = registry.find(name)
    from refacer.weights.pairs import load_pair  # torch

    try:
        pair = load_pair(name)
    except WeightsMissing:
        if entry is None:
            raise
        return _show_weight(entry, as_json)
    from refacer.weights.choices import uses_of_run
    from refacer.weights.terms import commercial_use

    uses = uses_of_run(pair)
    verdict = commercial_use(uses)
    if as_json:
        body = {"pair": pair.name, "commercial_use": verdict, "weights": [asdict(use) for use in uses]}
        return console.payload_text(json.dumps(body))
    rows = [(use.role, use.name, use.sha256[:12], f"commercial {use.commercial}", use.licence) for use in uses]
    console.payload_text(aligned(rows))
    strict = [f"{use.name} ({use.role})" for use in uses if use.commercial == verdict and verdict != "yes"]
    because = f", because of {', '.join(strict)}" if strict else ""
    return console.payload_text(f"commercial use of what {pair.name} makes: {VERDICTS[verdict]}{because}")


def aligned(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as text, columns two spaces apart."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _show_weight(entry: Weight, as_json: bool) -> None:
    """Print the terms of one weight."""
    if as_json:
        body = {"weight": entry.name, "commercial_use": entry.commercial, "licence": asdict(entry.licence)}
        return console.payload_text(json.dumps(body))
    terms = entry.licence
    console.payload_text(f"{entry.name}: {terms.title}\n{terms.terms}\n{terms.url}")
    return console.payload_text(f"commercial use: {VERDICTS[entry.commercial]}")


def _accepted() -> list[str]:
    """Addresses of the licences that were accepted on this machine."""
    try:
        return list(parse_json((cache.home() / "accepted.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return []
