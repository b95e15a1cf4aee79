"""DescribePictures, and the base of the stages that read its texts."""

from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from pipeline.corpus.tasks import OfDataset, ReadPosts
from pipeline.description.config import DESCRIBERS, FILE, DescribeConfig, describe_config
from pipeline.engine.files import need_space, size_of
from pipeline.engine.lists import Names
from pipeline.engine.settings import existing
from pipeline.engine.stage import Stage
from pipeline.grounding.tasks import DecodesPictures
from pipeline.machine import DEVICES, PRECISIONS


class DescribePictures(DecodesPictures):
    """Pictures -> what they show, in words: a text for each picture."""

    describer = luigi.OptionalChoiceParameter(
        choices=DESCRIBERS,
        default=None,
        description="none: file if --files is given, else captioner",
    )
    files = Names(default=(), description="JSON lines of picture and text, joined in this order")
    weights = luigi.OptionalStrParameter(
        default=None, description="hub name or folder of a captioner"
    )
    prompt = luigi.OptionalStrParameter(default=None, description="of a captioner")
    length = luigi.IntParameter(
        default=DescribeConfig.length, description="most new tokens of a captioner"
    )
    precision = luigi.ChoiceParameter(choices=PRECISIONS, default=DescribeConfig.precision)
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    batch_size = luigi.OptionalIntParameter(default=None, significant=False)
    threads = luigi.OptionalIntParameter(default=None, significant=False)

    IMPLIED = ("MakeDemo",)

    @classmethod
    def of(cls, dataset: str, source: tuple[str, ...]) -> "DescribePictures":
        """Return the stage of a data set.

        source: names of files of texts, or one describer; (): as configured.
        """
        if not source:
            return cls(dataset=dataset)
        if len(source) == 1 and source[0] in DESCRIBERS:
            return cls(dataset=dataset, describer=source[0])
        return cls(dataset=dataset, describer=FILE, files=source)

    def requires(self) -> list[Stage]:
        return [ReadPosts(dataset=self.dataset), *super().requires()]

    @cached_property
    def config(self) -> DescribeConfig:
        """The settings, with the describer chosen."""
        return describe_config(self.param_kwargs)

    def settings(self) -> dict[str, Any]:
        return {n: value for n, value in self.config.described().items() if n != "files"}

    def sources(self) -> dict[str, Path]:
        return {f"file {n}": file for n, file in enumerate(self._files(), start=1)}

    def _files(self) -> list[Path]:
        return [existing("--files", str(Path(file).expanduser())) for file in self.config.files]

    def made_by(self) -> dict[str, Any]:
        """Return the settings that decide the texts. Files are named, not their folders."""
        stems = [file.stem for file in self._files()]
        return self.settings() | ({"files": stems} if stems else {})

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import each_post
        from pipeline.description.from_files import describe_from_files

        files = self._files()
        need_space(folder, sum(map(size_of, files)), self.STAGE)
        posts = each_post(ReadPosts(dataset=self.dataset).folder)
        describe_from_files(
            (post.picture for post in posts), files, self.dataset, self.made_by(), folder
        )


class OfTexts(OfDataset):
    """A stage whose picture texts may be others than DescribePictures is set to."""

    knowledge_from = Names(
        default=(),
        description="files of picture texts, or a describer's name; none: as DescribePictures is "
        "set",
    )

    @property
    def description(self) -> DescribePictures:
        """The stage that makes the picture texts."""
        return DescribePictures.of(self.dataset, self.knowledge_from)
