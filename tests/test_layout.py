"""The house: imports run downwards, each outside library has one home, each file one size."""

import ast
import configparser
from fnmatch import fnmatch
from pathlib import Path

import pytest

import tasks
from pipeline.corpus.config import ReadConfig
from pipeline.description.config import DescribeConfig
from pipeline.extraction.config import ExtractConfig
from pipeline.grounding.config import GroundConfig
from pipeline.training.config import TrainConfig

HOME = Path(__file__).resolve().parents[1]
CODE = [
    *(HOME / "hvpnet.py", HOME / "tasks.py"),
    *(p for name in ("pipeline", "features", "model") for p in (HOME / name).rglob("*.py")),
]
# A folder imports only from those before it in this list, and from itself.
ROOMS = (
    *("features", "model", "pipeline/errors.py", "pipeline/engine", "pipeline/machine.py"),
    *("pipeline/pages", "pipeline/corpus", "pipeline/grounding", "pipeline/extraction"),
    *("pipeline/description", "pipeline/training", "pipeline/prediction", "pipeline/experiments"),
    *("hvpnet.py", "tasks.py"),
)
APART = {"features", "model"}  # they share an array, not a class
HOMES = {
    "luigi": {"tasks.py", "pipeline/engine/", "pipeline/*/tasks.py"},
    "h5py": {"features/store.py"},
    "torchcrf": {"model/ner.py", "model/zoo/umt.py"},
    "seqeval": {"pipeline/training/score.py"},
    "spacy": {"pipeline/grounding/noun_phrases.py"},
    "nltk": {"pipeline/grounding/noun_phrases.py"},
    "typer": {"pipeline/prediction/cli.py"},
    "rich": {"pipeline/prediction/table.py"},
    "matplotlib": {"pipeline/pages/charts.py"},
    "rapidocr": {"pipeline/description/ocr.py"},
}


def imports(path: Path, top_level: bool = False) -> set[str]:
    """Names of the modules that a file imports; top_level: only those at its start."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else list(ast.walk(tree))
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return names | {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}


def room(path: str) -> int | None:
    """The number of the room in which a file lies; None for a folder above the rooms."""
    inside = [n for n, name in enumerate(ROOMS) if path == name or path.startswith(f"{name}/")]
    return inside[0] if inside else None


def rooms_imported(path: Path) -> set[int]:
    """The rooms that a file imports from."""
    files = (f"{name.replace('.', '/')}{end}" for name in imports(path) for end in ("", ".py"))
    return {number for file in files if (number := room(file)) is not None}


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(HOME)))
def test_imports_run_downwards(path: Path) -> None:
    own = room(path.relative_to(HOME).as_posix())
    if own is None:  # pipeline/__init__.py: empty
        assert imports(path) == set()
        return
    above = {ROOMS[number] for number in rooms_imported(path) if number > own}
    assert not above
    if ROOMS[own] in APART:
        assert rooms_imported(path) <= {own}


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(HOME)))
def test_each_library_has_one_home(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    for library, homes in HOMES.items():
        file = path.relative_to(HOME).as_posix()
        assert library not in used or any(is_home(file, home) for home in homes)


def is_home(file: str, home: str) -> bool:
    """Whether a file is one of those that a pattern or a folder names."""
    return file.startswith(home) if home.endswith("/") else fnmatch(file, home)


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
    heavy = "torch torchvision transformers spacy nltk sklearn seqeval rapidocr"
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
        ("ReadPosts", ReadConfig),
        ("GroundCrops", GroundConfig),
        ("ExtractPyramid", ExtractConfig),
        ("DescribePictures", DescribeConfig),
        ("TrainRE", TrainConfig),
        ("TrainNER", TrainConfig),
    ],
)
def test_every_setting_has_its_parameter(task: str, config: type) -> None:
    parameters = {name for name, _ in getattr(tasks, task).get_params()}
    if task == "TrainNER":
        assert "relation_head" not in parameters
        parameters.add("relation_head")  # a setting of TrainRE alone
    assert set(config.__dataclass_fields__) <= parameters  # type: ignore[attr-defined]


def test_the_table_holds_every_stage() -> None:
    stages = {kind for kind in vars(tasks).values() if is_stage(kind) and kind is not tasks.Stage}
    assert stages == set(tasks.STAGES)


def is_stage(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, tasks.Stage)
