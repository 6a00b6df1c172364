"""What the documents say is what the program does: references lead somewhere, and README's commands run."""

import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_line_reference_is_current():
    reference = _tool("cli_reference")
    assert reference.PAGE.read_text() == reference.page(), "run `python tools/cli_reference.py`"


FOLDERS = ("refacer", "tests", "tools", "benchmarks", "docs", "examples", ".ci")
SUFFIXES = {".py", ".md", ".toml", ".yaml", ".html", ".css"}
ELSEWHERE = re.compile(
    r"\b(?:DESIGN|[Ff]acts) \d|[(]facts\b|\b(?:DESIGN|house|style)\.md|\bpaper\.txt|\bissue #?\d",
    re.MULTILINE,
)
"""Working papers and trackers that a reader of the repository does not have."""
PATH = re.compile(
    r"(?<![\w./{}*-])(?:refacer|tests|tools|benchmarks|docs|examples)/[\w./-]*\w\.(?:py|md|toml|html|css|schema\.json)\b"
)
PAGE = re.compile(r"(?<![\w/.*-])[\w-]+\.md\b")
PLACE = re.compile(r"`([a-z][a-z_\d/.]*\.py)(?:: (\w[\w.]*))?`")
"""`stages/align.py` or `stages/align.py: quad_from_landmarks` on a page."""
MODULE = re.compile(r"(?<![\w./-])(?:refacer|benchmarks|tools)(?:\.[a-z_]\w*)+(?![\w/(-])")


def texts() -> list[Path]:
    """Every file of the repository that people read."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    found = [path for path in (*ROOT.iterdir(), *inside) if path.suffix in SUFFIXES or path.name in ("Makefile", "run")]
    return sorted(path for path in found if path.is_file())


def prose(path: Path) -> str:
    """What a file says to people: all of it; of Python its comments and strings, each on lines of its own."""
    text = path.read_text()
    if path.suffix != ".py":
        return text
    said = {tokenize.COMMENT, tokenize.STRING}
    return "\n".join(
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type in said
    )


def is_module(name: str) -> bool:
    """Whether a dotted name is a module of ours, or a name that a module of ours holds."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        module = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        if end == len(parts) and (module.is_file() or place.is_dir()):
            return True
        if module.is_file():
            return re.search(rf"\b{parts[end]}\b", module.read_text()) is not None
    return False


def misplaced(text: str, folder: Path) -> Iterator[str]:
    """Files that a page names and that are not there, and names that are not in the file they are said to be in."""
    for file, name in PLACE.findall(text):
        place = next((base / file for base in (ROOT, ROOT / "refacer", folder) if (base / file).is_file()), None)
        if place is None or not all(re.search(rf"\b{part}\b", place.read_text()) for part in name.split(".")):
            yield f"{file}: {name}" if name else file


def dangling(path: Path) -> Iterator[str]:
    """What a file refers to that is not in the repository."""
    text = prose(path)
    yield from ELSEWHERE.findall(text)
    if path.name == "CHANGELOG.md":  # it tells of what was
        return
    yield from (name for name in PATH.findall(text) if "NAME" not in name and not (ROOT / name).exists())
    yield from (name for name in MODULE.findall(text) if not is_module(name))
    if path.suffix == ".md":
        yield from misplaced(text, path.parent)
    if path.suffix != ".py" or path.is_relative_to(ROOT / "refacer"):
        places = (ROOT, path.parent, ROOT / "docs")
        yield from (name for name in PAGE.findall(text) if not any((place / name).exists() for place in places))


def test_nothing_refers_to_what_is_not_in_the_repository():
    offenders = [f"{path.relative_to(ROOT)}: {name}" for path in texts() for name in sorted(set(dangling(path)))]
    assert not offenders, "\n".join(["", *offenders])


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_of_the_documents_lead_somewhere():
    offenders = []
    for page in texts():
        links = (
            re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()) if page.suffix == ".md" else []
        )
        for target, anchor in links:
            place = page.parent / target if target else page
            if not place.exists() or (anchor and anchor not in anchors(place)):
                offenders.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert not offenders, "\n".join(["", *offenders])


def test_what_the_readme_shows_of_make_is_what_make_does():
    makefile = (ROOT / "Makefile").read_text()
    for line in ("result:       demo/display.real.png", "before/after: demo/before_after.png"):
        assert line in README
        assert line in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_a_commit_is_checked_by_what_make_lint_runs():
    (lint,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    entries = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert entries == [line.strip().replace("$(BIN)", ".venv/bin") for line in lint.splitlines()]


@pytest.fixture
def workplace(tmp_path: Path, look: Path) -> Path:
    """A folder with the pictures that README speaks of."""
    for name in ("look.png", "shots/a.png", "renders/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(look, tmp_path / name)
    return tmp_path


def test_readmes_commands_run(workplace: Path, pair: Path):
    """Every shell line of README, in order, with a tiny pair in place of the embedded one."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line]
    short = " --kimg 0.008 --batch 4 --tick 0.008"
    script = "\n".join(line.split("  #")[0] + (short if " finetune " in line else "") for line in lines)
    environment = os.environ | {
        "REFACER_PAIR": str(pair),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=workplace, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for made in ("look.real.png", "out/a.png", "out/report.html", "codes.npy", "runs/a/pair.json", "look.npy"):
        assert (workplace / made).is_file(), made


def test_readmes_python_runs(workplace: Path):
    """The Python block: both ways give the same pixels, and the file that it saves is the command line's."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    check = "\nassert (image == result.image).all()\n"
    done = subprocess.run([sys.executable, "-c", block + check], cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (workplace / "look.real.png").is_file()
