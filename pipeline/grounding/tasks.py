"""Stages of grounding: GroundCrops, and the stages that write and score its regions."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from pipeline import corpus
from pipeline.corpus.tasks import OfDataset, ReadPosts, named
from pipeline.engine.files import near, need_space, size_of
from pipeline.engine.outputs import READS
from pipeline.engine.settings import changed, existing, on_disk, without_path
from pipeline.engine.stage import Stage
from pipeline.engine.status import changes
from pipeline.engine.versions import versions
from pipeline.grounding.config import (
    FALLBACKS,
    GROUNDERS,
    ORDERS,
    READ_PHRASES,
    TRAINED_ON,
    GroundConfig,
    ground_config,
)
from pipeline.grounding.phrases import MODES
from pipeline.machine import AUTO, DEVICES, PRECISIONS, Machine

log = logging.getLogger(__name__)


class OfCrops(OfDataset):
    """A stage whose pictures' crops may be chosen by other phrases than GroundCrops is set to."""

    crops = luigi.OptionalChoiceParameter(
        choices=MODES,
        default=None,
        description="phrases that choose the crops; none: --GroundCrops-phrases",
    )

    @property
    def grounding(self) -> "GroundCrops":
        """The stage that chooses the crops."""
        return GroundCrops.of(self.dataset, self.crops)


class DecodesPictures(OfDataset):
    """A stage that decodes pictures and reports those that it could not use."""

    @cached_property
    def key(self) -> dict[str, Any]:
        """The stage's key, with the setting READS if there are recovered pictures.

        These are pictures that an earlier output could not use and this installation can read.
        Without any, the key has no such setting.
        """
        from pipeline.grounding.recovered import recovered

        key = super().key
        names = recovered(self.paths.store_root, key, self.root, self.paths.digests)
        return key | {"settings": key["settings"] | {READS: names}} if names else key

    def run(self) -> None:
        for line in changes(self._key_without_reads(), self.key):
            log.info("%s is made again: %s", self.STAGE, line)
        super().run()

    def _key_without_reads(self) -> dict[str, Any]:
        settings = {n: value for n, value in self.key["settings"].items() if n != READS}
        return self.key | {"settings": settings}


class GroundCrops(DecodesPictures):
    """Posts -> phrases of each sentence, and at most m boxes in its picture."""

    VERSION = 3

    grounder = luigi.ChoiceParameter(
        choices=GROUNDERS,
        default=AUTO,
        description="auto: regions that came with the data, else the detector if its weights are "
        "on this machine, else salience",
    )
    phrases = luigi.ChoiceParameter(
        choices=MODES,
        default=GroundConfig.phrases,
        description="auto: phrases that came with the data, else spaCy's if a model is installed",
    )
    max_crops = luigi.IntParameter(
        default=GroundConfig.max_crops, description="most regions per post (m)"
    )
    order = luigi.ChoiceParameter(choices=ORDERS, default=GroundConfig.order)
    min_score = luigi.OptionalFloatParameter(
        default=None, description="lowest score of a region, 0 to 1"
    )
    overlap = luigi.FloatParameter(
        default=GroundConfig.overlap,
        description="IoU above which the later of two regions is dropped",
    )
    boxes_per_phrase = luigi.IntParameter(default=GroundConfig.boxes_per_phrase)
    fallback = luigi.ChoiceParameter(
        choices=FALLBACKS,
        default=GroundConfig.fallback,
        description="for posts without a phrase: generic phrases, then salience, then none",
    )
    weights = luigi.OptionalStrParameter(
        default=None, description="hub name or folder of a detector, or checkpoint of faoa"
    )
    vocabulary = luigi.OptionalStrParameter(default=None, description="of faoa's text encoder")
    trained_on = luigi.OptionalChoiceParameter(
        choices=TRAINED_ON,
        default=None,
        description="faoa's training data, if not in its file's name",
    )
    precision = luigi.ChoiceParameter(choices=PRECISIONS, default=GroundConfig.precision)
    longest_side = luigi.OptionalIntParameter(
        default=None, description="of a detector's input, pixels"
    )
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    batch_size = luigi.IntParameter(default=8, significant=False)
    threads = luigi.OptionalIntParameter(default=None, significant=False)

    IMPLIED = ("MakeDemo",)

    @classmethod
    def of(cls, dataset: str, phrases: str | None) -> "GroundCrops":
        """Return the stage of a data set. phrases: one of MODES; None: as configured."""
        return cls(dataset=dataset) if phrases is None else cls(dataset=dataset, phrases=phrases)

    def requires(self) -> list[Stage]:
        return [ReadPosts(dataset=self.dataset), *super().requires()]

    @cached_property
    def config(self) -> GroundConfig:
        """The settings, with "auto" resolved once for this machine."""
        layout = self.layout_if_any()
        return ground_config(
            self.param_kwargs, self.dataset, layout is not None and layout.released
        )

    def settings(self) -> dict[str, Any]:
        from pipeline.grounding.noun_phrases import parser_version

        settings = self.config.described()
        if self.config.finder in READ_PHRASES:
            settings["parser"] = parser_version(self.config.phrases)
        for name in ("weights", "vocabulary"):
            settings = without_path(settings, name)
        return settings

    def sources(self) -> dict[str, Path]:
        layout, config = self.layout_if_any(), self.config
        pictures = {} if layout is None else named(layout, layout.picture_files())
        named_files = {"weights": config.weights, "vocabulary": config.vocabulary}
        return pictures | {
            name: path
            for kind, value in named_files.items()
            for name, path in on_disk(kind, value).items()
        }

    @contextmanager
    def finders(self) -> Iterator[Callable[[str], Any]]:
        """Yield a function that returns a Finder by name. Answers are cached in the store."""
        from pipeline.grounding.finder import BoxCache, make_finder

        machine = changed(Machine(), self.param_kwargs)
        with BoxCache(self.paths.store_root / "boxes.sqlite") as cache:
            yield lambda name: make_finder(
                name, self.config, machine, self.paths.digests.of, self.paths.content, cache
            )

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import load_posts
        from pipeline.grounding.ground import ground

        texts = ReadPosts(dataset=self.dataset).folder
        need_space(folder, 4 * size_of(texts), self.STAGE)
        posts = load_posts(texts)
        with self.finders() as finder:
            ground(posts, self.root, self.config, finder, folder)


class ReadsCrops(OfDataset):
    """A stage that presents the regions of GroundCrops. No other stage depends on it."""

    IMPLIED = ("MakeDemo",)
    RESULT = True

    def requires(self) -> list[Stage]:
        made = super().requires()
        return [ReadPosts(dataset=self.dataset), GroundCrops(dataset=self.dataset), *made]

    def lines(self) -> list[str]:
        return [str(near(self.folder))]


class WriteCrops(ReadsCrops):
    """The crops as files with the published names and layout, for other code."""

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import load_posts
        from pipeline.grounding.crops import GroundedPosts
        from pipeline.grounding.write import write_crops

        layout = self.layout_if_any()
        pictures = sum(map(size_of, layout.picture_files() if layout else []))
        need_space(folder, pictures, self.STAGE)
        lines = list(GroundedPosts(GroundCrops(dataset=self.dataset).folder))
        posts = load_posts(ReadPosts(dataset=self.dataset).folder)
        write_crops(lines, self.root, posts, self.dataset, folder)


class EvaluateGrounding(ReadsCrops):
    """A grounder's boxes compared with hand-drawn boxes of entities."""

    boxes = luigi.OptionalStrParameter(
        default=None, description="folder of Pascal-VOC XML; default: xml/ in the data set's folder"
    )
    split = luigi.OptionalChoiceParameter(choices=corpus.SPLITS, default=None)

    def boxes_folder(self) -> Path:
        """Return the folder of XML files."""
        return existing("--boxes", self.boxes or str(self.root / self.dataset / "xml"))

    def settings(self) -> dict[str, Any]:
        return {"split": self.split}

    def sources(self) -> dict[str, Path]:
        return {"boxes": self.boxes_folder()}

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import load_posts
        from pipeline.grounding.crops import GroundedPosts
        from pipeline.grounding.evaluate import evaluate_grounding

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
                grounding.config,
                finder,
                {"dataset": self.dataset, "split": self.split, "versions": versions()},
                folder,
            )

    def lines(self) -> list[str]:
        from pipeline.engine.files import read_json
        from pipeline.grounding.evaluate import table

        return [*table(read_json(self.folder / "metrics.json")), str(near(self.folder))]
