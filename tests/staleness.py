"""What the table of staleness is tried on: tiny files of each layout, and a fingerprint a stage.

Nothing is read as posts or pictures, so most files hold a word.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import luigi
import pytest
from luigi.configuration import get_config
from luigi.task_register import Register

import tasks
from pipeline.engine.stage import Stage, upstream

EXPERIMENTS = "1LKAD"  # letters of the stages over training runs
COLUMNS = f"MRGXVTNOEPHSWBIC{EXPERIMENTS}"  # the letters of `columns`, as the table has them
_SPLITS = {"train": "train", "val": "dev", "test": "test"}

BARE = "bare/posts.jsonl"  # no folder of pictures yet
OWN = ("own/posts.jsonl", "own/pictures/a.jpg", "own/pictures/b.jpg", "own/pictures/.hidden")
LABELLED = [
    f"labelled/{kind}"
    for name in _SPLITS.values()
    for kind in (f"texts/{name}/{name}.json", f"images/{name}/a.jpg")
]
MNRE = [
    "RE_data/txt/ours_rel2id.json",
    *(
        f"RE_data/{kind}"
        for split, name in _SPLITS.items()
        for kind in (
            f"txt/ours_{split}.txt",
            f"txt/mre_{name}_dict.pth",
            f"img_org/{split}/a.jpg",
            f"img_vg/{split}/crops/a.png",
        )
    ),
]
TWITTER = [
    "NER_data/twitter2015_images/a.jpg",
    *(
        f"NER_data/twitter2015{kind}"
        for split, name in {"train": "train", "val": "valid", "test": "test"}.items()
        for kind in (
            f"/{name}.txt",
            f"/twitter2015_{split}_dict.pth",
            f"_aux_images/{split}/crops/a.png",
        )
    ),
]
TYPED = [
    "NER_data/typed_images/a.jpg",
    *(f"NER_data/typed/{name}.txt" for name in ("train", "valid", "test")),
]
FILES = (  # what options name
    *("detector/config.json", "detector/model.safetensors", "encoder/model.safetensors"),
    *("lstm_flickr_model.pth.tar", "words.json", "resnet.pth", "best_model.pth"),
    *("run/model/model.safetensors", "run/metrics.json", "tokenizer/vocab.txt", "boxes/a.xml"),
    *("entities/model/model.safetensors", "relations/model/model.safetensors"),
    *("start/model/model.safetensors", "start/model/tokenizer.json"),
    *("tagger/model/model.safetensors", "entities-of-text/model/model.safetensors"),
    *("looker/model/model.safetensors", "captions.jsonl", "knowledge.jsonl"),
    "reader/model/model.safetensors",
    *("captioner/config.json", "captioner/model.safetensors"),
)


# One run for each experiment and task: more would only cost time.
_FEW_RUNS = {
    **{f"{name}.quick": "true" for name in ("Table1", "LowResource", "CrossTask")},
    **{f"{name}.variants": "hvpnet" for name in ("Table1", "LowResource", "CrossTask", "Cases")},
    "LowResource.shares": "10",
}

PRECISION_IS_CHOSEN_BY = "pipeline.extraction.tasks.well_done"


@contextmanager
def plain_machine() -> Iterator[None]:
    """One with spaCy's model, without the detector's weights, whose CPU does float32 best."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("features.grounding.hub.is_cached", lambda name: Path(name).is_dir())
        patch.setattr("pipeline.grounding.phrases.installed", lambda: True)
        patch.setattr(PRECISION_IS_CHOSEN_BY, lambda device: "float32")
        patch.setattr("pipeline.grounding.noun_phrases.parser_version", parser("3.8"))
        yield


@contextmanager
def lookups_remembered() -> Iterator[None]:
    """Look each parameter up once: Luigi does it for each instance, which takes most of the time.

    The configuration must not change meanwhile.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(luigi.Parameter, "_get_value", cache(luigi.Parameter._get_value))
        patch.setattr(luigi.Task, "get_params", classmethod(_parameters_of))
        yield


_parameters_of: Any = cache(luigi.Task.get_params.__func__)


def parser(version: str) -> Callable[[str], str | None]:
    """A stand-in for `parser_version`."""
    return lambda mode: f"parser {version}" if "spacy" in mode else None


@dataclass(frozen=True)
class Layouts:
    """Folders `data` and `files` below a root."""

    root: Path
    store: str = "/dev/null/store"  # can't be made: digests are kept in memory, which is quick

    @property
    def options(self) -> dict[str, str]:
        """What must be given for every stage to have a key."""
        return {
            "paths.data": str(self.root / "data"),
            "paths.store": self.store,
            "Evaluate.model": str(self.root / "files/run"),
            "Predict.model": f"{self.root}/files/entities,{self.root}/files/relations",
            "ShowPredictions.model": str(self.root / "files/tagger"),
            "ShowPredictions.beside": str(self.root / "files/entities-of-text"),
            "ImportReleased.checkpoint": str(self.root / "files/best_model.pth"),
            "EvaluateGrounding.boxes": str(self.root / "files/boxes"),
            "Controls.model": str(self.root / "files/looker"),
            **_FEW_RUNS,
        }

    def fingerprints(
        self, dataset: str = "own", options: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Each stage's fingerprint, by its letter. options: "Task.parameter" to what people type;
        "FILES" in it is the folder of weights."""
        with self.configured(options or {}):
            return {letter: stage.fingerprint for letter, stage in columns(dataset).items()}

    @contextmanager
    def configured(self, options: Mapping[str, str]) -> Iterator[None]:
        """Luigi's configuration with these values, and stages not yet made."""
        files = str(self.root / "files")
        given = {n: v.replace("FILES", files) for n, v in (self.options | {**options}).items()}
        config = get_config()
        names = {name: name.split(".") for name in given}
        before = {name: config.get(*names[name], None) for name in given}
        try:
            for name, value in given.items():
                config.set(*names[name], value)
            Register.clear_instance_cache()
            with lookups_remembered():
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    config.remove_option(*names[name])
                else:
                    config.set(*names[name], value)
            Register.clear_instance_cache()


def write_layouts(root: Path) -> Layouts:
    """A world of all layouts."""
    data = [f"data/{name}" for name in (BARE, *OWN, *LABELLED, *MNRE, *TWITTER, *TYPED)]
    for name in [*data, *(f"files/{name}" for name in FILES)]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}")
    (root / "files/run/model/config.json").write_text('{"variant": "hvpnet"}')
    (root / "files/words/model").mkdir(parents=True)
    (root / "files/words/model/config.json").write_text('{"variant": "text-only"}')
    for name, kind, variant in (
        ("entities", "EntityTagger", "hvpnet"),
        ("relations", "RelationExtractor", "hvpnet"),
        ("entities-of-text", "EntityTagger", "text-only"),
        ("tagger", "EntityTagger", "hvpnet"),
        ("looker", "EntityTagger", "hvpnet"),
    ):
        config = {"variant": variant, "architectures": [kind]}
        (root / f"files/{name}/model").mkdir(parents=True, exist_ok=True)
        (root / f"files/{name}/model/config.json").write_text(json.dumps(config))
    told = {"variant": "text-only", "architectures": ["EntityTagger"], "knowledge_tokens": 64}
    (root / "files/reader/model/config.json").write_text(json.dumps(told))
    (root / "outside.jpg").write_text("a picture that is not among the data")
    (root / "data/own/pictures/linked.jpg").symlink_to(root / "outside.jpg")
    return Layouts(root)


def columns(dataset: str) -> dict[str, Stage]:
    """The stages of a data set by letter; O is TrainRE of words only."""
    kinds: dict[str, Callable[..., Stage]] = {
        "R": tasks.ReadPosts,
        "G": tasks.GroundCrops,
        "X": tasks.ExtractPyramid,
        "V": tasks.DescribePictures,
        "T": tasks.TrainRE,
        "N": tasks.TrainNER,
        "E": tasks.Evaluate,
        "P": tasks.Predict,
        "H": tasks.ShowPredictions,
        "S": tasks.ShowCrops,
        "W": tasks.WriteCrops,
        "B": tasks.EvaluateGrounding,
        "I": tasks.ImportReleased,
        "C": tasks.Controls,
    }
    experiments: dict[str, Callable[..., Stage]] = {
        "1": tasks.Table1,
        "L": tasks.LowResource,
        "K": tasks.CrossTask,
        "A": tasks.Gates,
        "D": tasks.Cases,
    }
    found = {letter: kind(dataset=dataset) for letter, kind in kinds.items()}
    found |= {letter: kind(datasets=(dataset,)) for letter, kind in experiments.items()}
    found["O"] = tasks.TrainRE(dataset=dataset, variant="text-only")
    return found | ({"M": tasks.MakeDemo()} if dataset == "demo" else {})


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The letters of the stages that went stale, as a cell of the table."""
    return "".join(c if before.get(c) != after.get(c) else "." for c in COLUMNS)


def make(stages: Sequence[Stage]) -> list[str]:
    """Run stages and all that they need and isn't there, as Luigi decides; what ran, by name.

    The work itself is left out: an output is one file, `result`.
    """
    ran: list[str] = []

    def work(stage: Stage, folder: Path) -> None:
        ran.append(stage.STAGE)
        (folder / "result").write_text(stage.fingerprint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # no power cut is awaited here
        for stage in stages:
            for one in upstream(stage):
                patch.setattr(type(one), "work", work)
                patch.setattr(type(one), "lines", Stage.lines)
        assert luigi.build(stages, local_scheduler=True, no_lock=True, log_level="ERROR")
    return ran


def own_values(dataset: str) -> dict[str, str]:
    """Every parameter's value as the stages have it, spelt out."""
    values: dict[str, str] = {}
    for stage in columns(dataset).values():
        config = getattr(stage, "config", None)
        for name, parameter in stage.get_params():
            value = getattr(stage, name)
            value = getattr(config, name, None) if value is None else value
            if name not in ("dataset", "variant") and value not in (None, ()):
                values.setdefault(f"{type(stage).__name__}.{name}", parameter.serialize(value))
    return values


# --- what people do to files


def alter(path: Path) -> None:
    """Write something longer."""
    path.write_bytes(path.read_bytes() + b"!")


def alter_and_set_clock_back(path: Path) -> None:
    """Other bytes of the same number in the same file, with the time of the old ones."""
    old = path.stat()
    content = path.read_bytes()
    while path.stat().st_ctime_ns == old.st_ctime_ns:  # a clock ticks every few milliseconds
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        time.sleep(0.001)


def replace_by_copy(path: Path) -> None:
    """The same bytes in a new file."""
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def rename(path: Path) -> None:
    """Another name in the same folder."""
    path.rename(path.with_name(f"renamed-{path.name}"))


def add(path: Path) -> None:
    """A file that was not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"new: {path.name}")


def remove(path: Path) -> None:
    """Gone."""
    path.unlink()


# --- where the files are and when they were written


def everything(world: Layouts) -> Iterator[Path]:
    for folder in ("data", "files"):
        yield from (p for p in (world.root / folder).rglob("*") if not p.is_symlink())


def touch(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    for path in everything(world):
        path.touch()
    return world


def set_clock_forward(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    for path in everything(world):
        os.utime(path, (5e9, 5e9))  # 2128
    return world


def set_clock_back(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    for path in everything(world):
        os.utime(path, (5e7, 5e7))  # 1971
    return world


def replace_all_by_copies(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    for path in [path for path in everything(world) if path.is_file()]:
        replace_by_copy(path)
    return world


def move(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    moved = world.root / "moved"
    for folder in ("data", "files"):
        shutil.copytree(world.root / folder, moved / folder, symlinks=True)
        shutil.rmtree(world.root / folder)
    return Layouts(moved)


def link(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    linked = world.root / "linked"
    linked.mkdir()
    for folder in ("data", "files"):
        (linked / folder).symlink_to(world.root / folder)
    return Layouts(linked)


def name_relatively(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    monkeypatch.chdir(world.root)
    return Layouts(Path("."))


def work_elsewhere(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    monkeypatch.chdir(world.root)
    return world


def use_another_store(world: Layouts, monkeypatch: pytest.MonkeyPatch) -> Layouts:
    return Layouts(world.root, str(world.root / "store"))


# --- what happens to a store


def copy_of(made: Layouts, root: Path) -> Layouts:
    for folder in ("data", "files", "store"):
        shutil.copytree(made.root / folder, root / folder, symlinks=True)
    return Layouts(root, str(root / "store"))


def output(world: Layouts, stage: str, dataset: str) -> Path:
    [folder] = (Path(world.store) / stage).glob(f"{dataset}-*")
    return folder


def drop(folder: Path) -> None:
    shutil.rmtree(folder)


def alter_result(folder: Path) -> None:
    alter(folder / "result")


def lose_result(folder: Path) -> None:
    (folder / "result").unlink()


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def touch_result(folder: Path) -> None:
    os.utime(folder / "result", (5e9, 5e9))
