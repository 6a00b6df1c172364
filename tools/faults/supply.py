"""How the program reaches a user: wheel and sdist built twice, and the wheel in fresh environments.

    python -m tools.faults.supply build --out DIR                                 # twice, elsewhere, at another time
    python -m tools.faults.supply install --out DIR --python python3.12           # the newest needs
    python -m tools.faults.supply install --out DIR --python python3.11 --lowest  # those that are just allowed

`build` needs hatchling in this environment and a committed tree. `install` puts the needs in first, then the wheel
alone by `pip install --no-deps`, and runs `make demo`'s command. The journal is DIR/supply.jsonl.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

from packaging.requirements import Requirement
from PIL import Image

from tools.faults.trials import FAULT, Journal

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples/display.png"
SECONDS = 4 * 3600
"""For one step: torch and what it brings are gigabytes."""


def build(out: Path, journal: Journal) -> None:
    """Build from two copies of the tree under other names, umasks and times of files; their bytes must be equal."""
    commit = subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True).strip()
    made = []
    for name, umask, touched in (("one", 0o022, "2001-02-03"), ("another", 0o077, "2022-03-04")):
        tree = out / name / "tree"
        shutil.rmtree(out / name, ignore_errors=True)
        tree.mkdir(parents=True)
        before = os.umask(umask)
        packed = subprocess.Popen(["git", "archive", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE)
        subprocess.run(["tar", "xf", "-", "--no-same-permissions"], cwd=tree, stdin=packed.stdout, check=True)
        subprocess.run(["find", tree, "-exec", "touch", "-d", touched, "{}", "+"], check=True)
        line = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", out / name / "dist"]
        subprocess.run(line, cwd=tree, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": commit})
        os.umask(before)
        made.append({path.name: path for path in sorted((out / name / "dist").iterdir())})
    for name, path in made[0].items():
        digests = [hashlib.sha256(files[name].read_bytes()).hexdigest() for files in made]
        wrong = "" if digests[0] == digests[1] else f"{name} differs"
        journal.add(
            name, "build", FAULT if wrong else "equal bytes", wrong, sha256=digests[0], size=path.stat().st_size
        )


def needs_of(wheel: Path, *, lowest: bool) -> list[str]:
    """What a wheel needs; lowest: at the lowest versions that it allows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        told = message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []
    needs = [Requirement(text) for text in told]
    return [str(need).replace(">=", "==" if lowest else ">=") for need in needs if not need.marker]


def install(out: Path, python: str, *, lowest: bool, keep: bool) -> tuple[str, str]:
    """Install and run the demo; what is wrong, empty where nothing is, and the versions that were taken."""
    (wheel,) = (out / "one/dist").glob("*.whl")
    place = out / "environment"
    shutil.rmtree(place, ignore_errors=True)
    try:
        _run(python, "-m", "venv", place / "venv")
        pip = place / "venv/bin/pip"
        _run(pip, "install", "--quiet", *needs_of(wheel, lowest=lowest))
        _run(pip, "install", "--quiet", "--no-deps", wheel)
        _run(pip, "check")
        versions = _run(pip, "freeze")
        _run(place / "venv/bin/refacer", "run", DEMO, "-o", place / "demo.png")
        with Image.open(DEMO) as before, Image.open(place / "demo.png") as after:
            same = before.size == after.size and before.tobytes() != after.convert(before.mode).tobytes()
        return "" if same else "the demo's result is not what it should be", versions
    except subprocess.CalledProcessError as error:
        return f"{' '.join(map(str, error.cmd[:4]))} …: {(error.stderr + error.stdout)[-600:]}", ""
    except subprocess.TimeoutExpired as error:
        return f"{' '.join(map(str, error.cmd[:4]))} …: no end within {SECONDS} s", ""
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def _run(*line: object) -> str:
    """What a command prints; raises CalledProcessError."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in line]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment, timeout=SECONDS, cwd="/")
    return done.stdout


def main() -> None:
    """Build, or install once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("build", "install"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", default="python3")
    parser.add_argument("--lowest", action="store_true")
    parser.add_argument("--keep", action="store_true", help="the environment, to look into")
    chosen = parser.parse_args()
    journal = Journal(chosen.out / "supply.jsonl")
    if chosen.step == "build":
        build(chosen.out.absolute(), journal)
    else:
        wrong, versions = install(chosen.out.absolute(), chosen.python, lowest=chosen.lowest, keep=chosen.keep)
        version = _run(chosen.python, "--version").strip()
        kind = f"{version}, {'lowest' if chosen.lowest else 'newest'} needs"
        journal.add(kind, "install", FAULT if wrong else "works", wrong, versions=versions.split())
    print(journal.table())


if __name__ == "__main__":
    main()
