"""The house: imports run downwards, each outside library has one home, each file one size."""

import ast
import configparser
from pathlib import Path

import pytest

import tasks
from pipeline.manage import RESULTS
from pipeline.presets import ExtractConfig, GroundConfig, TrainConfig

HOME = Path(__file__).resolve().parents[1]
CODE = [
    HOME / "tasks.py",
    *(p for name in ("pipeline", "features", "model") for p in (HOME / name).rglob("*.py")),
]
MAY_IMPORT = {
    "tasks": {"pipeline"},
    "pipeline": {"pipeline", "features", "model"},
    "features": {"features"},
    "model": {"model"},
}
HOMES = {
    "luigi": {"tasks.py", "pipeline/stage.py"},
    "h5py": {"features/store.py"},
    "torchcrf": {"model/ner.py"},
    "seqeval": {"pipeline/score.py"},
    "spacy": {"pipeline/noun_phrases.py"},
    "nltk": {"pipeline/noun_phrases.py"},
}


def imports(path: Path, top_level: bool = False) -> set[str]:
    """Names of the modules that a file imports; top_level: only those at its start."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else list(ast.walk(tree))
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return names | {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(HOME)))
def test_imports_run_downwards(path: Path) -> None:
    room = path.relative_to(HOME).parts[0].removesuffix(".py")
    ours = {name.split(".")[0] for name in imports(path)} & MAY_IMPORT.keys()
    assert ours <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(HOME)))
def test_each_library_has_one_home(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    for library, homes in HOMES.items():
        assert library not in used or path.relative_to(HOME).as_posix() in homes


def modules_at_start(path: Path, seen: set[Path]) -> set[str]:
    """All modules that come with importing a file of ours."""
    if path in seen:
        return set()
    seen.add(path)
    found = imports(path, top_level=True)
    for name in sorted(found):
        for file in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"):
            if (HOME / file).exists():
                found = found | modules_at_start(HOME / file, seen)
    return found


def test_nothing_heavy_is_imported_before_there_is_work() -> None:
    found = {name.split(".")[0] for name in modules_at_start(HOME / "tasks.py", set())}
    assert "luigi" in found
    heavy = "torch torchvision transformers spacy nltk sklearn seqeval"
    assert not found & set(heavy.split())


def test_every_key_of_the_configuration_is_read() -> None:
    parser = configparser.ConfigParser()
    parser.read(HOME / "luigi.cfg")
    known = {"paths": {"data", "store"}}
    for section in set(parser.sections()) - {"core", "worker", "retcode"}:
        names = known.get(section) or {n for n, _ in getattr(tasks, section).get_params()}
        assert set(parser[section]) <= names


@pytest.mark.parametrize(
    ("task", "config"),
    [
        ("GroundCrops", GroundConfig),
        ("ExtractPyramid", ExtractConfig),
        ("TrainRE", TrainConfig),
        ("TrainNER", TrainConfig),
    ],
)
def test_every_setting_has_its_parameter(task: str, config: type) -> None:
    parameters = {name for name, _ in getattr(tasks, task).get_params()}
    assert set(config.__dataclass_fields__) <= parameters  # type: ignore[attr-defined]


def test_prune_knows_every_stage() -> None:
    stages = {name for name, kind in vars(tasks).items() if is_stage(kind) and name[0] != "_"}
    named = {type(stage).__name__ for stage in tasks.stages_of("demo")}
    assert stages - {"Stage"} == named | set(RESULTS)


def is_stage(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, tasks.Stage)


def test_readme_names_every_task_and_parameter() -> None:
    readme = (HOME / "README.md").read_text(encoding="utf-8")
    stages = "MakeDemo ReadPosts GroundCrops ExtractPyramid TrainRE TrainNER Evaluate "
    stages += "ImportReleased Recipes Status Prune Scores ShowCrops WriteCrops EvaluateGrounding"
    for name in stages.split():
        assert f"`{name}`" in readme
        for parameter, _ in getattr(tasks, name).get_params():
            assert f"--{parameter.replace('_', '-')}" in readme, (name, parameter)
