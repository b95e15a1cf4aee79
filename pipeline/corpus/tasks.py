"""Tasks of data sets: MakeDemo makes one, ReadPosts reads one, ImportPosts converts an export."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import luigi

from pipeline import corpus
from pipeline.corpus import DEMO
from pipeline.corpus.config import DEFAULT, EASY, HARD, PAIRS, ReadConfig
from pipeline.corpus.tags import may_open_by_i
from pipeline.engine.files import need_space, size_of
from pipeline.engine.listing import Listing
from pipeline.engine.paths import paths
from pipeline.engine.settings import changed, existing
from pipeline.engine.stage import Stage
from pipeline.errors import SettingError

DIFFICULTIES = (EASY, HARD)  # of the demo
EXPORTS = ("label-studio", "doccano", "brat", "conll", "records")


class MakeDemo(Stage):
    """Make the demo data set of generated posts and drawn pictures."""

    ADDED: ClassVar[Mapping[str, Any]] = {"difficulty": EASY}

    dataset = luigi.Parameter(default=DEMO)
    seed = luigi.IntParameter(default=0, description="seed of names, sentences and drawings")
    difficulty = luigi.ChoiceParameter(
        choices=DIFFICULTIES,
        default=EASY,
        description="easy: models with pictures label all posts; hard: models differ",
    )

    def work(self, folder: Path) -> None:
        from pipeline.corpus.demo import write_demo
        from pipeline.corpus.hard_demo import write_hard_demo

        write = {EASY: write_demo, HARD: write_hard_demo}[self.difficulty]
        write(folder / DEMO, self.seed)


class OfDataset(Stage):
    """A stage that reads a data set's files."""

    dataset = luigi.Parameter(
        default="mnre",
        description="mnre, twitter2015, twitter2017, demo, or the name of your own",
    )

    @property
    def root(self) -> Path:
        """The folder that file names in posts are relative to."""
        return MakeDemo().folder if self.dataset == DEMO else self.paths.data_root

    def layout_if_any(self) -> corpus.Layout | None:
        """Locate the data set's files; None for the demo, whose files are an output of MakeDemo."""
        return None if self.dataset == DEMO else corpus.locate(self.dataset, self.root)

    def requires(self) -> list[Stage]:
        return [MakeDemo()] if self.dataset == DEMO else []


class _Shares(luigi.Parameter):
    """Shares of train, val and test, separated by commas."""

    def parse(self, x: str) -> tuple[int, ...]:
        shares = [share.strip() for share in x.split(",")]
        if not all(share.isdecimal() for share in shares):
            raise SettingError(
                f"--split: expected shares of train, val and test such as 80,10,10, found {x!r}"
            )
        return ReadConfig(split=tuple(map(int, shares))).split

    def serialize(self, x: tuple[int, ...]) -> str:
        return ",".join(map(str, x))


class ReadPosts(OfDataset):
    """Read a data set's texts into posts.jsonl, and list its labels."""

    ADDED = asdict(DEFAULT)

    split = _Shares(
        default=DEFAULT.split,
        description="shares of train, val and test, for own posts without a split",
    )
    split_seed = luigi.IntParameter(
        default=DEFAULT.split_seed, description="seed of the drawn splits"
    )
    unlabelled_pairs = luigi.ChoiceParameter(
        choices=PAIRS,
        default=DEFAULT.unlabelled_pairs,
        description="pairs of entities without a relation: left out, or relation None",
    )
    none_label = luigi.OptionalStrParameter(
        default=None, description='name for "no relation" in own posts, which is read as None'
    )

    @cached_property
    def config(self) -> ReadConfig:
        """Settings for reading own posts."""
        return changed(DEFAULT, self.param_kwargs)

    def settings(self) -> dict[str, Any]:
        """Return the settings, with the folders of pictures and crops: posts have paths in them."""
        layout = self.layout_if_any()
        if layout is None:
            return {}
        # Makes outputs stale from when such tags were not yet converted to BIO.
        json = [text for text in layout.texts.values() if text.suffix in (".json", ".jsonl")]
        tags = {"tags": "IO or IOB1"} if any(map(may_open_by_i, json)) else {}
        own_settings = asdict(self.config) if layout.own else {}
        return {"folders": [*layout.folders], **own_settings, **tags}

    def sources(self) -> dict[str, Path]:
        layout = self.layout_if_any()
        return {} if layout is None else named(layout, (*layout.texts.values(), *layout.extras))

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import read_posts

        texts = sum(size_of(path) for path in self.sources().values())
        need_space(folder, 3 * texts, self.STAGE)
        read_posts(corpus.locate(self.dataset, self.root), folder, self.config)


class ImportPosts(Listing):
    """Convert a tool's export into a data set of your own: posts.jsonl and pictures/."""

    dataset = luigi.Parameter(description="name of the data set to write")
    file = luigi.Parameter(description="what the tool wrote: a file or a folder")
    format = luigi.ChoiceParameter(choices=EXPORTS, description="the tool, or the file's format")
    pictures = luigi.OptionalStrParameter(
        default=None, description="folder to copy the pictures from"
    )
    overwrite = luigi.BoolParameter(description="replace posts.jsonl and pictures that exist")

    def lines(self) -> list[str]:
        from pipeline.corpus.imports.write import import_posts

        pictures = None if self.pictures is None else Path(self.pictures).expanduser()
        file = existing("--file", str(Path(self.file).expanduser()))
        data = paths().data_root
        return import_posts(self.dataset, file, self.format, pictures, data, self.overwrite)


def named(layout: corpus.Layout, paths: Iterable[Path]) -> dict[str, Path]:
    """Return files and folders by their path relative to the data root."""
    return {path.relative_to(layout.root).as_posix(): path for path in paths}
