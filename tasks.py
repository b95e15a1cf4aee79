"""The Luigi graph and nothing else: parameters, what requires what, one call a stage.

    luigi --module tasks ExtractPyramid --dataset mnre
    luigi --module tasks TrainRE

Each parameter belongs to one task. Another task's is set with its name before it, on the command
line (`TrainRE --ExtractPyramid-weights random`) or in luigi.cfg (`[ExtractPyramid]`).
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi
from luigi.configuration import get_config

from pipeline import console, corpus, stage
from pipeline.phrases import MODES
from pipeline.presets import (
    BACKBONE,
    DEMO,
    DEVICES,
    FALLBACKS,
    GROUNDERS,
    ORDERS,
    PAPER,
    PRECISIONS,
    RANDOM,
    READ_PHRASES,
    RECIPES,
    RELEASED,
    ROW_VERSION,
    SCRATCH,
    STYLES,
    TEXT_ONLY,
    TRAINED_ON,
    VARIANTS,
    ExtractConfig,
    GroundConfig,
    Machine,
    PictureFiles,
    TrainConfig,
    changed,
    extract_config,
    ground_config,
    recipes,
    train_config,
    train_preset,
)
from pipeline.stage import PYRAMIDS, Stage

HOME = Path(__file__).resolve().parent

log = logging.getLogger("pipeline.tasks")


def _read_own_configuration() -> None:
    """Use the project's luigi.cfg from any folder; what stands in the present folder's wins.

    A relative path there is relative to the project, one on the command line to the present folder.
    """
    config = get_config()
    config.read([str(HOME / "luigi.cfg")])
    type(config).reload()
    for name in ("data", "store"):
        config.set("paths", name, str(HOME / Path(config.get("paths", name)).expanduser()))


_read_own_configuration()
console.set_up()


class MakeDemo(Stage):
    """The demo data set: posts and pictures that the project draws itself."""

    dataset = luigi.Parameter(default=DEMO)
    seed = luigi.IntParameter(default=0, description="of names, sentences, and drawings")

    def work(self, folder: Path) -> None:
        from pipeline.corpus.demo import write_demo

        write_demo(folder / DEMO, self.seed)


class _OfDataset(Stage):
    """A stage that reads a data set's files."""

    dataset = luigi.Parameter(
        default="mnre", description="mnre, twitter2015, twitter2017, demo, or a folder of your own"
    )

    @property
    def root(self) -> Path:
        """What the file names in posts are relative to."""
        return MakeDemo().folder if self.dataset == DEMO else stage.data_root()

    def layout_if_any(self) -> corpus.Layout | None:
        """Where the data set's files are; None for the demo, whose stage stands for them."""
        return None if self.dataset == DEMO else corpus.locate(self.dataset, self.root)

    def requires(self) -> list[Stage]:
        return [MakeDemo()] if self.dataset == DEMO else []


class ReadPosts(_OfDataset):
    """Texts in their published form -> posts.jsonl, and the labels that there are."""

    def settings(self) -> dict[str, Any]:
        """In which folders pictures and crops are decides the paths in the posts."""
        layout = self.layout_if_any()
        return {} if layout is None else {"folders": [*layout.folders]}

    def sources(self) -> dict[str, Path]:
        layout = self.layout_if_any()
        return {} if layout is None else _named(layout, (*layout.texts.values(), *layout.extras))

    def space(self) -> int:
        return super().space() + 3 * sum(_size(path) for path in self.sources().values())

    def work(self, folder: Path) -> None:
        from pipeline.posts import read_posts

        read_posts(corpus.locate(self.dataset, self.root), folder)


class GroundCrops(_OfDataset):
    """Posts -> phrases of the sentence, and at most m boxes in the picture."""

    VERSION = 3

    grounder = luigi.ChoiceParameter(
        choices=GROUNDERS,
        default=GroundConfig.grounder,
        description="auto: what came with the data, else the detector if its weights are on this "
        "machine, else salience",
    )
    phrases = luigi.ChoiceParameter(
        choices=MODES,
        default=GroundConfig.phrases,
        description="auto: what came with the data, else spaCy's where a model is installed",
    )
    max_crops = luigi.IntParameter(
        default=GroundConfig.max_crops, description="at most so many regions a post (m)"
    )
    order = luigi.ChoiceParameter(choices=ORDERS, default=GroundConfig.order)
    min_score = luigi.OptionalFloatParameter(default=None, description="of a region, 0 to 1")
    overlap = luigi.FloatParameter(
        default=GroundConfig.overlap,
        description="intersection over union above which the later region goes",
    )
    boxes_per_phrase = luigi.IntParameter(default=GroundConfig.boxes_per_phrase)
    fallback = luigi.ChoiceParameter(
        choices=FALLBACKS,
        default=GroundConfig.fallback,
        description="for posts without a phrase: generic phrases, then salience, then none",
    )
    weights = luigi.OptionalStrParameter(
        default=None, description="hub name or folder of a detector; checkpoint of faoa"
    )
    vocabulary = luigi.OptionalStrParameter(default=None, description="of faoa")
    trained_on = luigi.OptionalChoiceParameter(
        choices=TRAINED_ON, default=None, description="faoa's data set, if the file doesn't tell"
    )
    precision = luigi.ChoiceParameter(choices=PRECISIONS, default=GroundConfig.precision)
    longest_side = luigi.OptionalIntParameter(default=None, description="pixels, in a detector")
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    batch_size = luigi.IntParameter(default=8, significant=False)
    threads = luigi.OptionalIntParameter(default=None, significant=False)

    IMPLIED = ("MakeDemo",)

    def requires(self) -> list[Stage]:
        return [ReadPosts(dataset=self.dataset), *super().requires()]

    def config(self) -> GroundConfig:
        """The values, with what "auto" means on this machine; decided once."""
        return self._config

    @cached_property
    def _config(self) -> GroundConfig:
        layout = self.layout_if_any()
        return ground_config(self, self.dataset, layout is not None and layout.released)

    def settings(self) -> dict[str, Any]:
        from pipeline.noun_phrases import parser_version

        settings = asdict(self.config())
        if self.config().finder in READ_PHRASES:
            settings["parser"] = parser_version(self.config().phrases)
        for name in ("weights", "vocabulary"):
            settings = _without_paths(settings, name) if settings[name] else settings
        return settings

    def sources(self) -> dict[str, Path]:
        layout, config = self.layout_if_any(), self.config()
        pictures = {} if layout is None else _named(layout, layout.picture_files())
        named = {"weights": config.weights, "vocabulary": config.vocabulary}
        return pictures | {
            name: path
            for kind, value in named.items()
            if value is not None
            for name, path in _if_path(kind, value).items()
        }

    def space(self) -> int:
        return super().space() + 4 * _size(ReadPosts(dataset=self.dataset).folder)

    @contextmanager
    def finders(self) -> Iterator[Callable[[str], Any]]:
        """Grounders by name, with the store's memory of what they answered."""
        from pipeline.boxes import BoxCache, make_finder

        machine = changed(Machine(), self)
        with BoxCache(stage.store_root() / "boxes.sqlite") as cache:
            yield lambda name: make_finder(
                name, self.config(), machine, stage.digests().of, stage.content, cache
            )

    def work(self, folder: Path) -> None:
        from pipeline.crops import ground
        from pipeline.posts import load_posts

        posts = load_posts(ReadPosts(dataset=self.dataset).folder)
        with self.finders() as finder:
            ground(posts, self.root, self.config(), finder, folder)


class _ReadsCrops(_OfDataset):
    """A stage for people: it reads what GroundCrops found, and no other stage needs it."""

    IMPLIED = ("MakeDemo",)
    _told = False

    def requires(self) -> list[Stage]:
        made = super().requires()
        return [ReadPosts(dataset=self.dataset), GroundCrops(dataset=self.dataset), *made]

    def complete(self) -> bool:
        done = super().complete()
        if done and not self._told:
            self._told = True
            for line in self.lines():
                log.info("%s", line)
        return done

    def lines(self) -> list[str]:
        """What people are told of the result, also where it was there before."""
        return [str(self.folder)]


class ShowCrops(_ReadsCrops):
    """One HTML page of posts with their pictures, boxes and crops."""

    posts = luigi.IntParameter(default=50, description="at most so many, evenly spread")

    def space(self) -> int:
        return super().space() + 150_000 * self.posts  # pictures are shown small

    def work(self, folder: Path) -> None:
        from pipeline.crops import GroundedPosts
        from pipeline.jsonfile import read_json
        from pipeline.show import show

        grounding = GroundCrops(dataset=self.dataset).folder
        report = read_json(grounding / "report.json")
        page = folder / "crops.html"
        if self.posts < 1:
            raise corpus.DataError(f"--posts: expected 1 or more, found {self.posts}")
        show(list(GroundedPosts(grounding)), self.root, report, self.dataset, self.posts, page)

    def lines(self) -> list[str]:
        return [f"open in a browser: {self.folder / 'crops.html'}"]


class WriteCrops(_ReadsCrops):
    """The crops as files under their published names, for other people's code."""

    def space(self) -> int:
        layout = self.layout_if_any()
        return super().space() + sum(map(_size, layout.picture_files() if layout else []))

    def work(self, folder: Path) -> None:
        from pipeline.crops import GroundedPosts
        from pipeline.posts import load_posts
        from pipeline.write_crops import write_crops

        lines = list(GroundedPosts(GroundCrops(dataset=self.dataset).folder))
        posts = load_posts(ReadPosts(dataset=self.dataset).folder)
        write_crops(lines, self.root, posts, self.dataset, folder)


class EvaluateGrounding(_ReadsCrops):
    """A grounder's boxes against those that people drew around entities."""

    boxes = luigi.OptionalStrParameter(
        default=None, description="folder of Pascal-VOC XML; default: xml/ in the data set's folder"
    )
    split = luigi.OptionalChoiceParameter(choices=corpus.SPLITS, default=None)

    def boxes_folder(self) -> Path:
        """Where the XML files are."""
        return _there("--boxes", self.boxes or str(self.root / self.dataset / "xml"))

    def settings(self) -> dict[str, Any]:
        return {"split": self.split}

    def sources(self) -> dict[str, Path]:
        return {"boxes": self.boxes_folder()}

    def work(self, folder: Path) -> None:
        from pipeline.crops import GroundedPosts
        from pipeline.evaluate_grounding import evaluate_grounding
        from pipeline.posts import load_posts

        grounding = GroundCrops(dataset=self.dataset)
        posts = load_posts(ReadPosts(dataset=self.dataset).folder)
        numbers = [n for n, post in enumerate(posts) if self.split in (None, post.split)]
        lines = list(GroundedPosts(grounding.folder))
        with grounding.finders() as finder:
            evaluate_grounding(
                [posts[n] for n in numbers],
                [lines[n] for n in numbers],
                self.root,
                self.boxes_folder(),
                grounding.config(),
                finder,
                {"dataset": self.dataset, "split": self.split, "versions": stage.versions()},
                folder,
            )

    def lines(self) -> list[str]:
        from pipeline.evaluate_grounding import table
        from pipeline.jsonfile import read_json

        return [*table(read_json(self.folder / "metrics.json")), str(self.folder)]


class ExtractPyramid(_OfDataset):
    """Pictures and crops -> ResNet blocks, pooled: a row each, in the store."""

    VERSION = 2  # of the index; the rows have their own

    backbone = luigi.OptionalStrParameter(default=None, description="any torchvision ResNet")
    weights = luigi.OptionalStrParameter(
        default=None, description="torchvision's name, a file, or random"
    )
    seed = luigi.OptionalIntParameter(default=None, description="of random weights")
    grid = luigi.OptionalIntParameter(default=None, description="side of a pooled map")
    pooling = luigi.OptionalChoiceParameter(choices=["floor", "adaptive"], default=None)
    resize = luigi.OptionalChoiceParameter(choices=["center", "stretch"], default=None)
    size = luigi.OptionalIntParameter(default=None, description="side of the input, pixels")
    precision = luigi.OptionalChoiceParameter(choices=PRECISIONS, default=None)
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    batch_size = luigi.OptionalIntParameter(default=None, significant=False)
    threads = luigi.OptionalIntParameter(default=None, significant=False)

    IMPLIED = ("MakeDemo",)

    def requires(self) -> list[Stage]:
        return [GroundCrops(dataset=self.dataset), *super().requires()]

    def config(self) -> ExtractConfig:
        """The data set's preset with people's own values."""
        return extract_config(self.dataset, self)

    def settings(self) -> dict[str, Any]:
        rows = {"row_version": ROW_VERSION}
        return _without_paths(asdict(self.config()), "weights") | rows

    def sources(self) -> dict[str, Path]:
        return _if_path("weights", self.config().weights)

    def weights_name(self) -> str:
        """The backbone's weights by torchvision's name, or by what a file of people's own holds."""
        name: str = self.key["sources"].get("weights", self.config().weights)
        return name

    def rereads(self) -> list[Stage]:
        return [GroundCrops(dataset=self.dataset)]

    def fills(self) -> Path:
        """The store's folder of this backbone's rows."""
        from pipeline.extract import rows_folder

        return stage.store_root() / PYRAMIDS / rows_folder(self.config(), self.weights_name())

    def work(self, folder: Path) -> None:
        from pipeline.crops import GroundedPosts
        from pipeline.extract import extract

        grounding = GroundCrops(dataset=self.dataset)
        extract(
            GroundedPosts(grounding.folder),
            root=self.root,
            slots=1 + grounding.max_crops,
            digest=stage.digests().of,
            rows=self.fills(),
            weights=self.weights_name(),
            config=self.config(),
            machine=changed(Machine(), self),
            folder=folder,
        )

    def run(self) -> None:
        # Held until the index is in its place: Prune takes rows without an index for unused.
        with stage.locked(self.fills().name, "filling the same rows"):
            super().run()

    def shared(self, folder: Path) -> list[Path]:
        from pipeline.batches import shard_files

        return shard_files(folder, stage.store_root() / PYRAMIDS)


class _ReadsPyramids(_OfDataset):
    """A stage that runs a model, on pyramids unless it is text-only."""

    IMPLIED = ("GroundCrops", "MakeDemo")

    def with_pictures(self) -> bool:
        """Whether the model reads pyramids."""
        raise NotImplementedError

    def requires(self) -> list[Stage]:
        reading: list[Stage] = [ReadPosts(dataset=self.dataset)]
        if not self.with_pictures():
            return reading
        extraction = ExtractPyramid(dataset=self.dataset)
        return [*reading, extraction, GroundCrops(dataset=self.dataset), *super().requires()]

    def pictures(self) -> PictureFiles | None:
        """Where the pyramids are, and the pictures that they were computed from."""
        if not self.with_pictures():
            return None
        extraction = ExtractPyramid(dataset=self.dataset)
        return PictureFiles(
            extraction=extraction.folder,
            grounding=GroundCrops(dataset=self.dataset).folder,
            pyramids=stage.store_root() / PYRAMIDS,
            root=self.root,
            config=extraction.config(),
        )

    def about(self) -> dict[str, Any]:
        """What decided the result, for people who find it later."""
        return {
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "keys": [one.key for one in stage.upstream(self)],
            "versions": stage.versions(),
        }


class _Seeds(luigi.Parameter):
    """Several seeds, separated by commas."""

    def parse(self, x: str) -> tuple[int, ...]:
        seeds = [seed.strip() for seed in x.split(",")]
        if not all(seed.isdecimal() for seed in seeds):
            raise corpus.DataError(f"--seeds: expected numbers such as 1,49,1234, found {x!r}")
        return tuple(dict.fromkeys(int(seed) for seed in seeds))

    def serialize(self, x: tuple[int, ...]) -> str:
        return ",".join(map(str, x))


class _Train(_ReadsPyramids):
    """What the two training stages share."""

    TASK: str
    VERSION = 3
    RESUMES = True

    recipe = luigi.ChoiceParameter(
        choices=RECIPES, default=PAPER, description="where values that aren't given are from"
    )
    variant = luigi.OptionalChoiceParameter(choices=VARIANTS, default=None)
    style = luigi.OptionalChoiceParameter(choices=STYLES, default=None)
    encoder = luigi.OptionalStrParameter(default=None, description="hub name, folder, or scratch")
    seed = luigi.OptionalIntParameter(default=None)
    seeds = _Seeds(default=(), description="runs each; 1,49,1234: mean and deviation")
    epochs = luigi.OptionalIntParameter(default=None)
    batch_size = luigi.OptionalIntParameter(default=None)
    learning_rate = luigi.OptionalFloatParameter(default=None)
    head_learning_rate = luigi.OptionalFloatParameter(default=None)
    weight_decay = luigi.OptionalFloatParameter(default=None)
    decay_all = luigi.OptionalBoolParameter(
        default=None, description="weight decay on biases and normalisation too"
    )
    warmup = luigi.OptionalFloatParameter(default=None, description="share of all steps")
    evaluate_from = luigi.OptionalIntParameter(default=None, description="first epoch scored")
    max_tokens = luigi.OptionalIntParameter(default=None, description="word pieces a post")
    dropout = luigi.OptionalFloatParameter(default=None, description="before the head")
    max_grad_norm = luigi.OptionalFloatParameter(default=None)
    precision = luigi.OptionalChoiceParameter(choices=PRECISIONS, default=None)
    finetune_backbone = luigi.BoolParameter(description="recompute pyramids, with gradients")
    backbone_learning_rate = luigi.OptionalFloatParameter(default=None)
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)

    def config(self) -> TrainConfig:
        """The task's preset with people's own values."""
        return train_config(self.TASK, self.dataset, self)

    def with_pictures(self) -> bool:
        return self.config().variant != TEXT_ONLY

    def requires(self) -> list[Stage]:
        if self.seeds:
            return [self.clone(seed=seed, seeds=()) for seed in self.seeds]
        return super().requires()

    def settings(self) -> dict[str, Any]:
        if self.seeds:  # all else that decides the result decides the runs'
            return {"seeds": sorted(self.seeds)}
        return _without_paths(asdict(self.config()), "encoder")

    def sources(self) -> dict[str, Path]:
        return {} if self.seeds else _if_path("encoder", self.config().encoder)

    @property
    def name(self) -> str:
        return super().name if self.seeds else f"{super().name} seed {self.config().seed}"

    def work(self, folder: Path) -> None:
        if self.seeds:
            from pipeline.results import summarise

            summarise([run.folder for run in self.requires()], folder, self.about())
            return
        from pipeline.train import train_into

        train_into(
            folder,
            task_name=self.TASK,
            posts_folder=ReadPosts(dataset=self.dataset).folder,
            config=self.config(),
            files=self.pictures(),
            device=self.device,
            about={"task": self.TASK, **self.about()},
        )

    def run(self) -> None:
        from pipeline.results import result

        super().run()
        for line in result(self.folder, self.clone(variant=TEXT_ONLY).folder):
            log.info(line)


class TrainRE(_Train):
    """Relations between two marked entities: train, choose the epoch, score on test."""

    TASK = "re"


class TrainNER(_Train):
    """Entities, with a CRF: train, choose the epoch, score on test."""

    TASK = "ner"
    dataset = luigi.Parameter(
        default="twitter2015", description="twitter2015, twitter2017, demo, or a folder of your own"
    )


class ImportReleased(_OfDataset):
    """A published best_model.pth -> a model folder of ours, and its backbone's weights."""

    checkpoint = luigi.Parameter(description="a published best_model.pth")
    tokenizer = luigi.Parameter(
        default=TrainConfig.encoder, description="of the checkpoint's encoder: hub name or folder"
    )

    def requires(self) -> list[Stage]:
        return [ReadPosts(dataset=self.dataset)]

    def settings(self) -> dict[str, Any]:
        return _without_paths({"tokenizer": self.tokenizer}, "tokenizer")

    def sources(self) -> dict[str, Path]:
        checkpoint = {"checkpoint": _there("--checkpoint", self.checkpoint)}
        return checkpoint | _if_path("tokenizer", self.tokenizer)

    def space(self) -> int:
        return super().space() + 2 * _size(Path(self.checkpoint))

    def work(self, folder: Path) -> None:
        from pipeline.import_released import import_into

        import_into(
            folder,
            Path(self.checkpoint),
            self.tokenizer,
            posts_folder=ReadPosts(dataset=self.dataset).folder,
            longest=train_preset("ner", self.dataset, RELEASED).max_tokens,
        )

    def run(self) -> None:
        super().run()
        for name in ("model", BACKBONE):
            if (self.folder / name).exists():  # a text-only checkpoint has no backbone
                log.info(self.folder / name)


class Evaluate(_ReadsPyramids):
    """A saved model on a data set: predictions and scores of val and test."""

    VERSION = 2

    model = luigi.Parameter(description="output of TrainRE, TrainNER or ImportReleased")
    precision = luigi.ChoiceParameter(choices=PRECISIONS, default=TrainConfig.precision)
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)

    def with_pictures(self) -> bool:
        from pipeline.results import needs_pictures

        return needs_pictures(self.model_folder())

    def model_folder(self) -> Path:
        """The model itself, also where people named the folder of the run that made it."""
        named = _there("--model", self.model)
        return named / "model" if (named / "model").is_dir() else named

    def settings(self) -> dict[str, Any]:
        return {"precision": self.precision}

    def sources(self) -> dict[str, Path]:
        return {"model": self.model_folder()}

    def work(self, folder: Path) -> None:
        from pipeline.evaluate import evaluate_into

        evaluate_into(
            folder,
            self.model_folder(),
            posts_folder=ReadPosts(dataset=self.dataset).folder,
            files=self.pictures(),
            device=self.device,
            precision=self.precision,
            about=self.about(),
        )

    def run(self) -> None:
        from pipeline.results import evaluation

        super().run()
        for line in evaluation(self.folder):
            log.info(line)


class _Report(luigi.Task):
    """Something to read: it runs each time that it is asked for."""

    _done = False

    def complete(self) -> bool:
        return self._done

    def lines(self) -> list[str]:
        """What to print."""
        raise NotImplementedError

    def run(self) -> None:
        print("\n".join(self.lines()), flush=True)
        self._done = True


def stages_of(dataset: str) -> list[Stage]:
    """All stages of a data set in the present configuration, upstream first."""
    first: list[Stage] = [MakeDemo()] if dataset == DEMO else []
    rest = (ReadPosts, GroundCrops, ExtractPyramid, TrainRE, TrainNER)
    return first + [task(dataset=dataset) for task in rest]


class Status(_Report):
    """For each stage of a data set: fresh, or stale and which part of its key changed."""

    dataset = luigi.Parameter(default="mnre")

    def lines(self) -> list[str]:
        from pipeline.manage import status

        return status(stages_of(self.dataset))


class Prune(_Report):
    """Remove outputs that the present configuration doesn't name, except results."""

    dry_run = luigi.BoolParameter(description="only say what would go")
    runs = luigi.BoolParameter(
        description="training runs, evaluations, imports, pages, written crops go too"
    )

    def lines(self) -> list[str]:
        from pipeline.manage import prune

        return prune(stages_of, self.runs, self.dry_run)


class Recipes(_Report):
    """The named recipes' values for both tasks on a data set."""

    dataset = luigi.Parameter(default="mnre")
    variant = luigi.ChoiceParameter(choices=VARIANTS, default=VARIANTS[0])

    def lines(self) -> list[str]:
        return recipes(self.dataset, self.variant)


class Scores(_Report):
    """A table of all training runs in the store."""

    dataset = luigi.OptionalStrParameter(default=None, description="only this one's")

    def lines(self) -> list[str]:
        from pipeline.results import scores

        return scores(self.dataset)


def _named(layout: corpus.Layout, paths: Iterable[Path]) -> dict[str, Path]:
    """Files and folders by their path within the data root."""
    return {path.relative_to(layout.root).as_posix(): path for path in paths}


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _without_paths(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """Settings in which a file or folder is left to its digest: it may lie anywhere."""
    return settings | ({name: "from disk"} if _if_path(name, settings[name]) else {})


def _if_path(name: str, value: str) -> dict[str, Path]:
    """Weights that are a file or folder, and no word of ours."""
    return {name: Path(value)} if value not in (RANDOM, SCRATCH) and Path(value).exists() else {}


def _there(option: str, value: str) -> Path:
    """The file or folder that people named."""
    if not Path(value).exists():
        raise corpus.DataError(f"{option}: expected a file or folder, found nothing at {value}")
    return Path(value)
