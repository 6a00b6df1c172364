"""The program in odd places: other locales, no home, a read-only install, another user's cache, Python's own switches.

    python -m tools.faults.places --out DIR [--only "no home" …]

In every place the same commands run, on names that are no ASCII and one that is no UTF-8: what they make must be what
they make elsewhere, and stderr holds nothing but our own lines. Needs root on Linux: rights are taken away by
`setpriv`. The journal is DIR/places.jsonl.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.tiny import tiny_generator
from tests.tiny_pair import write_pair
from tests.weights import writers
from tools.faults.jobs import LOOK, contents
from tools.faults.trials import FAULT, Journal, arguments

ROOT = Path(__file__).parents[2]
OTHER_USER = 12345
"""Has no entry in the list of users, and so no home."""

WITHOUT_RIGHTS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Root, but files are as closed as they say."""

NOBODY_KNOWN = (
    "setpriv", "--reuid", str(OTHER_USER), "--clear-groups", "--inh-caps", "+dac_override", "--ambient-caps",
    "+dac_override",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """How a command is started there.

    unset: variables that are not there; codes: exit codes by command, where not 0.
    """

    prefix: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    codes: Mapping[str, int] = field(default_factory=dict)


PLAIN = "plain"
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
HOMELESS = ("HOME", "REFACER_HOME", "XDG_CACHE_HOME")


def places(folder: Path) -> dict[str, Place]:
    """All of them; what they need lies in the folder."""
    closed, others, readonly = folder / "closed", folder / "others", folder / "readonly"
    return {
        PLAIN: Place(),
        "C locale": Place(set=C_LOCALE),
        "Turkish locale": Place(set={"LC_ALL": "tr_TR.UTF-8", "LOCPATH": str(folder / "locales")}),
        "Turkish locale, Latin-5": Place(
            set={"LC_ALL": "tr_TR", "LOCPATH": str(folder / "locales"), "PYTHONUTF8": "0"}
        ),
        "no home": Place(unset=HOMELESS, set={"XDG_CACHE_HOME": str(folder / "xdg")}),
        "no home, unknown user": Place(NOBODY_KNOWN, unset=HOMELESS, codes={"import": 7}),
        "a home that is no folder": Place(set={"HOME": "/dev/null"}, unset=HOMELESS[1:], codes={"import": 7}),
        "read-only install": Place(WITHOUT_RIGHTS, set={"PYTHONPATH": str(readonly)}),
        "another user's cache, closed": Place(WITHOUT_RIGHTS, set={"REFACER_HOME": str(closed)}, codes={"import": 7}),
        "another user's cache, readable": Place(WITHOUT_RIGHTS, set={"REFACER_HOME": str(others)}, codes={"import": 7}),
        "no temporary folder": Place(set={"TMPDIR": "/nowhere"}),
        "-O": Place(flags=("-O",)),
        "-OO": Place(flags=("-OO",)),
        "-W error": Place(flags=("-W", "error")),
        "-X dev": Place(flags=("-X", "dev", "-W", "ignore::DeprecationWarning")),
        "-I": Place(flags=("-P", "-s")),
    }


def commands(folder: Path, out: Path) -> dict[str, list[str]]:
    """What is run everywhere, by a short name."""
    return {
        "help": ["run", "--help"],
        "run": ["run", f"{folder}/looks", "-o", f"{out}/looks/", "--way", "translate", "--pair", f"{folder}/pair"],
        "list": ["weights", "list", "--json"],
        "import": ["weights", "import", f"{folder}/one.pkl", "--as", "thing", "--force"],
    }


def prepare(folder: Path) -> None:
    """Pictures with odd names, a pair, a weight file, a read-only copy of the package, caches of another user."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("looks", "pair", "locales", "closed", "others/weights", "readonly"):
        (folder / name).mkdir(parents=True)
    for name in ("plain.png", "IıİiÖ 写真.png", os.fsdecode(b"\xff\xfe.png")):
        shutil.copy(LOOK, folder / "looks" / name)
    write_pair(folder / "pair")
    (folder / "one.pkl").write_bytes(writers.snapshot(tiny_generator()))
    for name, letters in (("tr_TR.UTF-8", "UTF-8"), ("tr_TR", "ISO-8859-9")):
        subprocess.run(["localedef", "-i", "tr_TR", "-f", letters, folder / "locales" / name], check=True)
    shutil.copytree(ROOT / "refacer", folder / "readonly/refacer", ignore=shutil.ignore_patterns("__pycache__"))
    for name, mode in (("readonly", 0o555), ("others", 0o755), ("closed", 0o700)):
        for path in (folder / name, *(folder / name).rglob("*")):
            os.chmod(path, mode if path.is_dir() else mode & 0o666)
            if name != "readonly":
                os.chown(path, OTHER_USER, OTHER_USER)


def wrong_with(place: Place, name: str, folder: Path, out: Path, wanted: Mapping[str, str]) -> str:
    """What is wrong with how a command ends there; empty where nothing is."""
    unset = (*place.unset, "OMP_WAIT_POLICY")  # libgomp itself cannot read that one under a Turkish locale
    here = {key: value for key, value in os.environ.items() if key not in unset}
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "REFACER_HOME": str(out / "home")}
    variables = {**here, **{key: value for key, value in own.items() if key not in unset}, **place.set}
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.chmod(out, 0o777)
    line = [*place.prefix, sys.executable, *place.flags, "-m", "refacer", *commands(folder, out)[name]]
    done = subprocess.run(line, capture_output=True, env=variables, cwd=out, stdin=subprocess.DEVNULL, timeout=600)
    said = done.stderr.decode(errors="backslashreplace")
    if done.returncode != place.codes.get(name, 0):
        return f"exit code {done.returncode}: {said[-400:]}"
    if odd := [text for text in said.splitlines() if not text.startswith("refacer: ")]:
        return f"said {odd[-3:]}"
    if name in ("help", "list") and not done.stdout:
        return "printed nothing"
    if name == "run" and contents(out / "looks") != wanted:
        return "made others than elsewhere"
    return ""


def main() -> None:
    """Every command in every place."""
    parser = arguments(__doc__, 0)
    parser.add_argument("--only", nargs="+")
    chosen = parser.parse_args()
    folder, out = chosen.out / "places", chosen.out / "placed"
    journal = Journal(chosen.out / "places.jsonl")
    prepare(folder)
    problem = wrong_with(Place(), "run", folder, out, {})
    wanted = contents(out / "looks")
    if problem != "made others than elsewhere" or len(wanted) != 3:
        raise SystemExit(f"does not work anywhere: {problem}")
    for kind, place in places(folder).items():
        for name in commands(folder, out):
            trial = f"{kind}: {name}"
            if journal.has(trial) or (chosen.only and kind not in chosen.only):
                continue
            wrong = wrong_with(place, name, folder, out, wanted)
            journal.add(trial, kind, FAULT if wrong else "as elsewhere", wrong)
    print(journal.table())


if __name__ == "__main__":
    main()
