"""DescribePictures, the base of the stages that read its texts, and ShowCrops, which shows them."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from pipeline.corpus.tasks import OfDataset, ReadPosts, named
from pipeline.description.config import (
    DESCRIBERS,
    FILE,
    OBJECTS,
    OCR,
    READ_PICTURES,
    DescribeConfig,
    describe_config,
    engine_version,
)
from pipeline.engine.files import near, need_space, size_of
from pipeline.engine.lists import Names
from pipeline.engine.settings import changed, check, existing, on_disk, without_path
from pipeline.engine.stage import Stage
from pipeline.grounding.tasks import DecodesPictures, GroundCrops, ReadsCrops
from pipeline.machine import DEVICES, PRECISIONS, Machine


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
        read = GroundCrops if self.config.describer == OBJECTS else ReadPosts
        return [read(dataset=self.dataset), *super().requires()]

    @cached_property
    def config(self) -> DescribeConfig:
        """The settings, with the describer chosen."""
        return describe_config(self.param_kwargs)

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide the texts, without paths: only content counts."""
        settings = self.config.described()
        settings.pop("files", None)
        if self.config.describer == OCR:
            settings["engine"] = engine_version()
        return without_path(settings, "weights") if "weights" in settings else settings

    def sources(self) -> dict[str, Path]:
        files = {f"file {n}": file for n, file in enumerate(self.text_files(), start=1)}
        layout = self.layout_if_any() if self.config.describer in READ_PICTURES else None
        pictures = {} if layout is None else named(layout, layout.pictures)
        return files | pictures | on_disk("weights", self.config.weights)

    def text_files(self) -> list[Path]:
        """Return the files of texts. Raises DataError if one does not exist."""
        return [existing("--files", str(Path(file).expanduser())) for file in self.config.files]

    def made_by(self) -> dict[str, Any]:
        """Return the settings that decide the texts. Files are named, weights by their content."""
        stems = [file.stem for file in self.text_files()]
        weights = {n: value for n, value in self.key["sources"].items() if n == "weights"}
        return self.settings() | ({"files": stems} if stems else {}) | weights

    def work(self, folder: Path) -> None:
        work = {FILE: self._copy_texts, OBJECTS: self._name_objects}
        work.get(self.config.describer, self._look_at_pictures)(folder)

    def _copy_texts(self, folder: Path) -> None:
        from pipeline.description.from_files import describe_from_files

        files = self.text_files()
        need_space(folder, sum(map(size_of, files)), self.STAGE)
        describe_from_files(self._pictures(), files, self.dataset, self.made_by(), folder)

    def _name_objects(self, folder: Path) -> None:
        from pipeline.description.objects import describe_objects
        from pipeline.grounding.crops import GroundedPosts

        grounded = GroundedPosts(GroundCrops(dataset=self.dataset).folder)
        describe_objects(grounded, self.made_by(), folder)

    def _look_at_pictures(self, folder: Path) -> None:
        from pipeline.description.describer import make_describer
        from pipeline.description.pictures import Look, describe_pictures
        from pipeline.engine.answers import Answers

        machine = changed(Machine(), self.param_kwargs)
        describer = make_describer(self.config, machine)
        weights = "" if describer.weights is None else self.paths.content(describer.weights)
        with Answers(self.paths.store_root / "descriptions.sqlite") as answers:
            look = Look(
                root=self.root,
                describer=describer,
                weights=weights,
                digest=self.paths.digests.of,
                answers=answers,
                threads=machine.threads,
            )
            describe_pictures(list(self._pictures()), look, self.made_by(), folder)

    def _pictures(self) -> Iterator[str | None]:
        """Yield the name of each post's picture."""
        from pipeline.corpus.posts import each_post

        posts = each_post(ReadPosts(dataset=self.dataset).folder)
        return (post.picture for post in posts)


class OfTexts(OfDataset):
    """A stage whose picture texts may be others than DescribePictures is set to."""

    knowledge_from = Names(
        default=(),
        description="files of picture texts, or a describer's name; none: as DescribePictures is "
        "set",
    )

    @property
    def usual_describer(self) -> str | None:
        """The describer where none is chosen; None for that of DescribePictures."""
        return None

    @property
    def description(self) -> DescribePictures:
        """The stage that makes the picture texts."""
        usual = () if self.usual_describer is None else (self.usual_describer,)
        return DescribePictures.of(
            self.dataset, self.knowledge_from if self.texts_are_chosen else usual
        )

    @property
    def texts_are_chosen(self) -> bool:
        """True if the picture texts are named here, or DescribePictures is configured."""
        stage = DescribePictures(dataset=self.dataset)
        return bool(self.knowledge_from or stage.files or stage.describer)


class ShowCrops(ReadsCrops):
    """One HTML page of posts with their pictures, boxes and crops, and with texts if asked."""

    posts = luigi.IntParameter(default=50, description="most posts to show, evenly spread")
    texts = Names(
        default=(),
        description="picture texts to show: files of texts, or a describer's name; none: no texts",
    )

    @property
    def description(self) -> DescribePictures | None:
        """The stage that makes the texts; None if none are shown."""
        return DescribePictures.of(self.dataset, self.texts) if self.texts else None

    def requires(self) -> list[Stage]:
        made = super().requires()
        return made if self.description is None else [*made, self.description]

    def settings(self) -> dict[str, Any]:
        return {"posts": self.posts}  # texts count by their content, as a required stage

    def work(self, folder: Path) -> None:
        from pipeline.description.texts import StoredTexts
        from pipeline.engine.files import read_json
        from pipeline.grounding.crops import GroundedPosts
        from pipeline.grounding.page import show

        check("--posts", "1 or more", self.posts, self.posts > 0)
        need_space(folder, 150_000 * self.posts, self.STAGE)  # pictures are shown at reduced size
        grounding = GroundCrops(dataset=self.dataset).folder
        grounded, texts = list(GroundedPosts(grounding)), None
        if self.description is not None:
            texts = StoredTexts.open(self.description.folder)(range(len(grounded)))
        report = read_json(grounding / "report.json")
        page = folder / "crops.html"
        show(grounded, self.root, report, self.dataset, self.posts, page, texts)

    def lines(self) -> list[str]:
        return [f"open in a browser: {near(self.folder / 'crops.html')}"]
