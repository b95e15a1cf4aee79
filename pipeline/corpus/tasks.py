"""Stages of data sets: MakeDemo draws one, ReadPosts reads one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import luigi

from pipeline import corpus
from pipeline.corpus import DEMO
from pipeline.engine.files import need_space, size_of
from pipeline.engine.stage import Stage


class MakeDemo(Stage):
    """The demo data set: posts and pictures that the project draws itself."""

    dataset = luigi.Parameter(default=DEMO)
    seed = luigi.IntParameter(default=0, description="of names, sentences, and drawings")

    def work(self, folder: Path) -> None:
        from pipeline.corpus.demo import write_demo

        write_demo(folder / DEMO, self.seed)


class OfDataset(Stage):
    """A stage that reads a data set's files."""

    dataset = luigi.Parameter(
        default="mnre", description="mnre, twitter2015, twitter2017, demo, or a folder of your own"
    )

    @property
    def root(self) -> Path:
        """What the file names in posts are relative to."""
        return MakeDemo().folder if self.dataset == DEMO else self.paths.data_root

    def layout_if_any(self) -> corpus.Layout | None:
        """Where the data set's files are; None for the demo, whose stage stands for them."""
        return None if self.dataset == DEMO else corpus.locate(self.dataset, self.root)

    def requires(self) -> list[Stage]:
        return [MakeDemo()] if self.dataset == DEMO else []


class ReadPosts(OfDataset):
    """Texts in their published form -> posts.jsonl, and the labels that there are."""

    def settings(self) -> dict[str, Any]:
        """In which folders pictures and crops are decides the paths in the posts."""
        layout = self.layout_if_any()
        return {} if layout is None else {"folders": [*layout.folders]}

    def sources(self) -> dict[str, Path]:
        layout = self.layout_if_any()
        return {} if layout is None else named(layout, (*layout.texts.values(), *layout.extras))

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import read_posts

        texts = sum(size_of(path) for path in self.sources().values())
        need_space(folder, 3 * texts, self.STAGE)
        read_posts(corpus.locate(self.dataset, self.root), folder)


def named(layout: corpus.Layout, paths: Iterable[Path]) -> dict[str, Path]:
    """Files and folders by their path within the data root."""
    return {path.relative_to(layout.root).as_posix(): path for path in paths}
