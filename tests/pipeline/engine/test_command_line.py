"""Test wrong commands: one line with a suggestion, exit code 2, nothing run."""

import subprocess
import sys
from pathlib import Path

import pytest
from luigi.configuration import LuigiConfigParser, get_config

from pipeline.engine.command_line import is_given
from pipeline.training.tasks import TrainRE
from tests.cli import LUIGI

WRONG = [
    ("TrainRE --varient flat", "TrainRE has no option --varient; did you mean --variant?"),
    ("TrainRE --varient=flat", "TrainRE has no option --varient; did you mean --variant?"),
    (
        "TrainRE --weights random",
        "TrainRE has no option --weights; did you mean --GroundCrops-weights or "
        "--DescribePictures-weights or --ExtractPyramid-weights?",
    ),
    (
        "TrainRE --ExtractPyramid-wieghts random",
        "TrainRE has no option --ExtractPyramid-wieghts; did you mean --ExtractPyramid-weights",
    ),
    (
        "GroundCrops --grounder sailence",
        "--grounder: expected one of auto, detector, faoa, none, released, salience, found "
        "'sailence'; did you mean salience?",
    ),
    (
        "TrainRE --GroundCrops-grounder sailence",
        "--GroundCrops-grounder: expected one of auto, detector, faoa, none, released, salience, "
        "found 'sailence'; did you mean salience?",
    ),
    ("TrainRE --epochs ten", "--epochs: expected a whole number, found 'ten'"),
    ("TrainRE --learning-rate fast", "--learning-rate: expected a number, found 'fast'"),
    ("TrainRE --decay-all=maybe", "argument --decay-all: ignored explicit argument 'maybe'"),
    ("TrainRE --epochs", "argument --epochs: expected one argument"),
    ("Evaluate --dataset demo", "Evaluate needs --model"),
    ("ImportPosts --dataset mine", "ImportPosts needs --file and --format"),
    ("TrainRE mnre", "expected an option, found 'mnre'; write a value after its option"),
    ("TrainER", "no task TrainER; did you mean TrainNER or TrainRE?"),
    ("Train2026", "no task Train2026; did you mean TrainRE"),
    ("Xyz", "no task Xyz; the tasks are Cases, "),
    ("", "expected a task, found none; the tasks are Cases, "),
]


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(LUIGI), "--module", "tasks", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("command", "line"), WRONG)
def test_a_slip_is_one_line(command: str, line: str, tmp_path: Path) -> None:
    done = typed(tmp_path, *command.split())
    assert done.returncode == 2
    [said] = done.stderr.splitlines()
    assert said.startswith(line)
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (
            "[GroundCrops]\ngrownder = salience",
            "luigi.cfg, [GroundCrops]: no option grownder; did you mean grounder",
        ),
        (
            "[GroundCrops]\ngrounder = sailence",
            "luigi.cfg, [GroundCrops] grounder: expected one of auto, ",
        ),
        ("[paths]\nstoer = x", "luigi.cfg, [paths]: no option stoer; did you mean store?"),
        ("[ReadPosts]\nsplit = 80", "luigi.cfg, [ReadPosts] split: --split: expected shares of"),
        ("[trainre]\nepochs = 3", "luigi.cfg: no section [trainre]; did you mean [TrainRE]?"),
        ("[GroundCrop]\n", "luigi.cfg: no section [GroundCrop]; did you mean [GroundCrops]?"),
        ("[path]\n", "luigi.cfg: no section [path]; did you mean [paths]?"),
        ("[TrainRE]\nepochs = ten", "luigi.cfg, [TrainRE] epochs: expected a whole number, found"),
    ],
)
def test_a_slip_in_the_configuration_is_one_line(lines: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "luigi.cfg").write_text(lines)
    done = typed(tmp_path, "Recipes")
    assert done.returncode == 2
    [said] = done.stderr.splitlines()
    assert said.startswith(line)


def test_what_is_right_passes(tmp_path: Path) -> None:
    (tmp_path / "luigi.cfg").write_text(
        "[other_project]\nkey = value\n[Training]\n[TrainRE]\nepochs = 3\n"
    )
    done = typed(tmp_path, "Recipes", "--variant", "flat", "--TrainRE-seeds", "1,2", "--workers=1")
    assert done.returncode == 0, done.stderr
    help = typed(tmp_path, "TrainRE", "--help")
    assert "--variant" in help.stdout
    assert help.returncode == 0


def test_another_module_that_uses_the_tasks_has_its_own(tmp_path: Path) -> None:
    """Another module's command is not checked: its task is not defined when ours are imported."""
    (tmp_path / "mine.py").write_text(
        "import luigi, tasks\n"
        "class Mine(luigi.Task):\n"
        "    colour = luigi.Parameter()\n"
        "    def complete(self):\n"
        "        return True\n"
    )
    command = [sys.executable, "-m", "luigi", "--module", "mine", "Mine", "--colour", "red"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("style", ["paper", "released"])
def test_a_value_in_luigi_cfg_is_given_even_if_it_is_the_default(
    style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LuigiConfigParser, "_instance", None)
    assert not is_given(TrainRE, "style")
    get_config().set("TrainRE", "style", style)
    assert is_given(TrainRE, "style")
    assert not is_given(TrainRE, "seed")
