"""Write figures into the pair's card, docs/studio.md: each section whose source is given, the others stay.

    python -m tools.studio.card --pair refacer/weights/studio --bases runs/base64 runs/base128 runs/base256 \
        --run runs/studio --parser parser.json --judge tools/studio/judge.json --table benchmarks/studio.json \
        --sheets docs/sheets

A section lies between `<!-- NAME -->` and `<!-- /NAME -->`. No figure is written by hand.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from benchmarks.studio import COLUMNS, cell
from benchmarks.studio_rows import ROWS
from refacer.errors import UsageError
from refacer.files import write_atomic
from refacer.options import FinetuneOptions
from refacer.weights.pairs import Pair, load_pair

CARD = Path(__file__).parents[2] / "docs" / "studio.md"


def main() -> None:
    args = arguments()
    text = args.card.read_text()
    for name, body in sections(args).items():
        text = with_section(text, name, body)
    write_atomic(args.card, text.encode())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pair", type=Path, help="folder of the assembled pair")
    parser.add_argument("--bases", type=Path, nargs="*", default=[], help="runs of train_base.py, in order")
    parser.add_argument("--run", type=Path, help="run of `refacer finetune`")
    parser.add_argument("--parser", type=Path, help="what train_parser.py printed")
    parser.add_argument("--judge", type=Path, help="what train_judge.py printed")
    parser.add_argument("--table", type=Path, help="JSON of benchmarks/studio.py")
    parser.add_argument("--sheets", type=Path, help="folder of sheets.py")
    parser.add_argument("--machine", default="machine not noted", help="what the bases were trained on")
    parser.add_argument("--card", type=Path, default=CARD)
    return parser.parse_args()


def sections(args: argparse.Namespace) -> dict[str, str]:
    """The text of each section that there is a source for."""
    made: dict[str, str] = {}
    if args.pair:
        made["networks"] = networks_section(args.pair)
    if args.bases or args.run:
        made["training"] = training_section(args.bases, args.run, args.machine)
    for name, path in (("parser", args.parser), ("judge", args.judge)):
        if path:
            made[name] = validation_section(json.loads(path.read_text()))
    if args.table:
        made["table"] = table_section(json.loads(args.table.read_text()))
    if args.sheets:
        made["sheets"] = sheets_section(args.sheets, args.card)
    return made


def with_section(text: str, name: str, body: str) -> str:
    """The card with one section rewritten; raises UsageError where it has none of that name."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise UsageError(f"the card has no section {name}")
    return pattern.sub(lambda found: f"{found[1]}{body.strip()}\n{found[2]}", text)


def networks_section(folder: Path) -> str:
    """Size, parameters and hash of each network."""
    facts = json.loads((folder / "pair.json").read_text())
    rows = []
    for role, entry in facts["networks"].items():
        path = folder / entry["file"]
        with safe_open(path, framework="np") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
        parameters = sum(math.prod(shape) for shape in shapes)
        rows.append(
            (role, f"{parameters / 1e6:.2f} M", f"{path.stat().st_size / 1e6:.2f} MB", f"`{entry['sha256'][:12]}`")
        )
    total = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
    d, inversion = facts["defaults"], _inversion(load_pair(str(folder)))
    after = f"{total:.1f} MB in all. By default `project` {inversion} "
    after += f"with a prior of {d.get('prior', 0)}, `decode` draws with a psi of {d.get('psi', 1)}, "
    after += f"faces are pasted as `{d.get('paste', 'auto')}` with a strength of {d.get('strength', 1)}, "
    after += f"`run` goes by `--way {d.get('way', 'project')}`."
    return markdown(("network", "values", "file", "sha256"), rows) + f"\n\n{after}"


def _inversion(pair: Pair) -> str:
    """Where a projection starts, and how it goes on."""
    encoded = pair.has("encoder")
    start, o = "the encoder's code" if encoded else "the average code", pair.defaults.projection(encoded=encoded)
    return f"starts at {start} and takes {o.steps} steps along the {o.axes} at a rate of {o.lr}"


def training_section(bases: Iterable[Path], run: Path | None, machine: str) -> str:
    """Images and hours of each run."""
    rows = [(f"realistic, `{base.name}`", *_effort(base), machine) for base in bases]
    if run:
        config = json.loads((run / "config.json").read_text())
        rows.append((f"rendering, `{run.name}`", *_effort(run), config["machine"]))
    table = markdown(("run", "kimg", "hours", "machine"), rows)
    return f"{table}\n\n{_differences(run)}" if run else table


def validation_section(report: Mapping[str, Any]) -> str:
    """What a training script printed, as a list."""
    return _listed({**{key: report[key] for key in report if key != "validation"}, **report["validation"]})


def sheets_section(folder: Path, card: Path) -> str:
    """A link to each sheet."""
    links = sorted(path.resolve().relative_to(card.resolve().parent) for path in folder.glob("*.jpg"))
    return "\n".join(f"- [{link.stem}]({link.as_posix()})" for link in links)


def table_section(report: Mapping[str, Any]) -> str:
    """The table, the random codes and the aims of benchmarks/studio.py; controls and seconds are in its JSON alone."""
    columns = {name: title for name, title in COLUMNS.items() if name not in ("sharpness", "seconds")}
    rows = [
        (ROWS[row], *(_cell(column, figures[column]) for column in columns))
        for row, figures in report["rows"].items()
        if row not in ("noise", "direct_rendering", "reconstruction")
    ]
    parts = [
        f"{len(report['people'])} people, {report['steps']} steps, {report['machine']}.",
        markdown(("", *columns.values()), rows),
    ]
    for word, wanted in (("Met", True), ("Missed", False)):
        aims = [
            f"{name} {_number(aim['value'])} ({aim['aim']})"
            for name, aim in report["aims"].items()
            if aim["met"] is wanted
        ]
        if aims:
            parts.append(f"{word}: {'; '.join(aims)}.")
    return "\n\n".join(parts)


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table."""
    titles = list(head)
    lines = [f"| {' | '.join(line)} |" for line in (titles, *rows)]
    return "\n".join([lines[0], "|---" * len(titles) + "|", *lines[1:]])


def _effort(folder: Path) -> tuple[str, str]:
    """kimg and hours of a run, from its log's ticks; a run that was resumed earlier counts what it repeated once."""
    seen, seconds = 0, 0.0
    for line in _log(folder):
        pace = line["seconds_per_kimg"] / 1000 if "seconds_per_kimg" in line else 1 / line["images_per_s"]
        seconds += max(line["images_seen"] - seen, 0) * pace
        seen = max(seen, line["images_seen"])
    return f"{seen / 1000:.1f}", f"{seconds / 3600:.1f}"


def _differences(run: Path) -> str:
    """What the run was asked for beyond the defaults of `refacer finetune`."""
    options = json.loads((run / "config.json").read_text())["options"]
    defaults = json.loads(json.dumps(asdict(FinetuneOptions())))
    changed = ", ".join(
        f"{name} {value}" for name, value in options.items() if name in defaults and value != defaults[name]
    )
    return f"`refacer finetune` with its defaults but: {changed or 'nothing'}."


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def _listed(facts: Mapping[str, Any], indent: str = "") -> str:
    """A list; what holds further mappings becomes a list inside it."""
    lines = []
    for key, value in facts.items():
        nested = isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values())
        title = f"{indent}- {key.replace('_', ' ')}:"
        lines.append(f"{title}\n{_listed(value, indent + '  ')}" if nested else f"{title} {_shown(value)}")
    return "\n".join(lines)


def _cell(column: str, value: float | None) -> str:
    return cell(column, float("nan") if value is None else value)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return _number(value) if value is None or isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
