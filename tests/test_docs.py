"""What the documents say is what the program does: the reference is current, and README's commands run."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
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


def test_links_of_the_documents_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_what_the_readme_shows_of_make_is_what_make_does():
    makefile = (ROOT / "Makefile").read_text()
    for line in ("result:       demo/display.real.png", "before/after: demo/before_after.png"):
        assert line in README
        assert line in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text()


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
    for made in ("look.real.png", "out/a.png", "out/report.ndjson", "codes.npy", "runs/a/pair.json", "look.npy"):
        assert (workplace / made).is_file(), made


def test_readmes_python_runs(workplace: Path):
    """The Python block, with a code of the embedded pair's shape."""
    import numpy as np

    from refacer.weights.pairs import load_pair

    pair = load_pair("studio")
    np.save(workplace / "codes.npy", np.zeros((1, pair.num_ws, pair.w_dim), np.float32))
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    check = f"\nassert image.shape == (1, 3, {pair.resolution}, {pair.resolution})\n"
    done = subprocess.run([sys.executable, "-c", block + check], cwd=workplace, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
