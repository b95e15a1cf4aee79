"""Importing the packages has no effect on a program; installing them needs no checkout."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.cli import HOME

PACKAGES = ("pipeline", "features", "model")
FILES = [
    path.relative_to(HOME)
    for name in PACKAGES
    for path in sorted((HOME / name).rglob("*.py"))
    if path.parent.name != "engine" and path.name != "tasks.py"
]
LOOK = """
import importlib, json, logging, signal, sys
def state():
    from transformers import AttentionInterface, AutoConfig
    loggers = logging.Logger.manager.loggerDict
    ours = [name for name in loggers if name.split(".")[0] in ("pipeline", "features", "model")]
    return {
        "attention": sorted(AttentionInterface().valid_keys()),
        "handlers": [name for name in ("", *ours) if logging.getLogger(name).handlers],
        "levels": [name for name in ours if logging.getLogger(name).level],
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
    }
before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([before, state(), sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_importing_has_no_effect(tmp_path: Path) -> None:
    """luigi is not even imported, so that no luigi.cfg is read: not one that cannot be, either."""
    (tmp_path / "luigi.cfg").write_text("this is no configuration")
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in FILES]
    assert "pipeline.training.train" in modules
    assert "model.relation" in modules
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *modules],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    before, after, imported = json.loads(done.stdout)
    assert after == before
    assert "visual_prefix" not in after["attention"]
    assert "torch" in imported
    assert "luigi" not in imported


# --- an installation that is not editable


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the project's wheel, and this one's libraries."""
    root = tmp_path_factory.mktemp("installed")
    source = root / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "hvpnet.py", "tasks.py", "luigi.cfg"):
        shutil.copy(HOME / name, source)
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HOME / name, source / name, symlinks=True, ignore=ignored)
    venv.create(root / "venv")
    made = root / "venv/bin/python"
    [packages] = (root / "venv/lib").glob("python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "libraries.pth").write_text("\n".join(here))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    install = ["--python", str(made), "install", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, *install, str(source)], check=True)
    shutil.rmtree(source)
    return made


def typed(python: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-m", "luigi", "--module", "tasks", *command],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_an_installed_package_says_that_it_is_annotated(python: Path) -> None:
    [packages] = (python.parents[1] / "lib").glob("python*/site-packages")
    assert all((packages / name / "py.typed").is_file() for name in PACKAGES)


def test_an_installed_package_trains_in_an_empty_folder(python: Path, tmp_path: Path) -> None:
    few = ("--variant", "text-only", "--epochs", "1")  # drawing and pictures take a minute
    done = typed(python, tmp_path, "TrainRE", "--dataset", "demo", *few)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert list(tmp_path.glob("store/TrainRE/demo-*/model/model.safetensors"))


def test_an_installed_package_predicts(python: Path, tmp_path: Path) -> None:
    """The console script, whose models an installation finds in any folder."""
    command = [str(python.parent / "hvpnet"), "predict", "nothing", "--text", "Noah"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (
        1,
        "hvpnet: nothing: expected a model's folder or a file, found nothing\n",
    )


@pytest.mark.parametrize(
    ("command", "code"), [(("Status",), 0), (("TrainRE",), 35), (("TrainRE", "--varient", "x"), 2)]
)
def test_an_installed_package_has_the_exit_codes(
    command: tuple[str, ...], code: int, python: Path, tmp_path: Path
) -> None:
    done = typed(python, tmp_path, *command)
    assert done.returncode == code, done.stderr
    assert f"looked for {tmp_path}/data/" in done.stdout + done.stderr or code == 2
