"""ExtractPyramid, and the base of the stages that read pyramids."""

import logging
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from pipeline.corpus.tasks import ReadPosts
from pipeline.engine.outputs import MANIFEST
from pipeline.engine.settings import changed, on_disk, without_path
from pipeline.engine.stage import Stage, upstream
from pipeline.engine.versions import versions
from pipeline.extraction.config import (
    RANDOM,
    ROW_VERSION,
    ExtractConfig,
    PictureFiles,
    extract_config,
)
from pipeline.grounding.tasks import DecodesPictures, GroundCrops, OfCrops
from pipeline.machine import DEVICES, PRECISIONS, Machine, well_done

log = logging.getLogger(__name__)


class ExtractPyramid(DecodesPictures, OfCrops):
    """Pictures and crops -> pooled ResNet blocks: one row each in the store."""

    VERSION = 2  # of the index; rows have ROW_VERSION

    backbone = luigi.OptionalStrParameter(default=None, description="any torchvision ResNet")
    weights = luigi.OptionalStrParameter(
        default=None, description="torchvision's name of weights, a file, or random"
    )
    seed = luigi.OptionalIntParameter(default=None, description="of random weights")
    grid = luigi.OptionalIntParameter(default=None, description="side of a pooled map")
    pooling = luigi.OptionalChoiceParameter(choices=["floor", "adaptive"], default=None)
    resize = luigi.OptionalChoiceParameter(choices=["center", "stretch"], default=None)
    size = luigi.OptionalIntParameter(
        default=None, description="side of the backbone's input, pixels"
    )
    precision = luigi.OptionalChoiceParameter(choices=PRECISIONS, default=None)
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    batch_size = luigi.OptionalIntParameter(default=None, significant=False)
    threads = luigi.OptionalIntParameter(default=None, significant=False)

    IMPLIED = ("MakeDemo",)

    def requires(self) -> list[Stage]:
        return [self.grounding, *super().requires()]

    @cached_property
    def config(self) -> ExtractConfig:
        """The data set's default settings, with the values given."""
        precision = self.precision or precision_at_hand(self)
        return extract_config(self.dataset, {**self.param_kwargs, "precision": precision})

    def settings(self) -> dict[str, Any]:
        rows = {"row_version": ROW_VERSION}
        return without_path(asdict(self.config), "weights", RANDOM) | rows

    def sources(self) -> dict[str, Path]:
        return on_disk("weights", self.config.weights, RANDOM)

    def weights_name(self) -> str:
        """Return torchvision's name of the backbone's weights, or the digest of a file."""
        name: str = self.key["sources"].get("weights", self.config.weights)
        return name

    def fills(self) -> Path:
        """Return the store's folder of this backbone's rows."""
        from pipeline.extraction.rows import rows_folder

        return self.paths.pyramids / rows_folder(self.config, self.weights_name())

    def work(self, folder: Path) -> list[Path]:
        from pipeline.extraction.extract import Extraction, extract
        from pipeline.extraction.index import shard_files
        from pipeline.grounding.crops import GroundedPosts

        grounding = self.grounding
        run = Extraction(
            root=self.root,
            slots=1 + grounding.max_crops,
            digest=self.paths.digests.of,
            rows=self.fills(),
            weights=self.weights_name(),
            config=self.config,
            machine=changed(Machine(), self.param_kwargs),
        )
        extract(GroundedPosts(grounding.folder), run, folder)
        grounding.check_sources()  # this stage reads the same pictures
        return shard_files(folder, self.paths.pyramids)


def precision_at_hand(stage: Stage) -> str:
    """Return the precision of a stage if `--precision` is not given.

    It is the precision that the stage's device computes well, unless the store has the stage's
    output in the other precision only. So a store that is moved to another machine, or shared by
    several, stays complete.
    """
    best = well_done(stage.device)
    for precision in sorted(PRECISIONS, key=lambda name: name != best):
        folder = stage.clone(precision=precision).folder
        if (folder / MANIFEST).exists():
            if precision != best:
                log.info(
                    "%s: using the existing output in %s; --precision %s, which suits this device, "
                    "makes another",
                    stage.STAGE,
                    precision,
                    best,
                )
            return precision
    return best


class ReadsPyramids(OfCrops):
    """A stage that runs a model, which reads pyramids unless it is text-only."""

    IMPLIED = ("GroundCrops", "MakeDemo")

    def with_pictures(self) -> bool:
        """Return True if the model reads pyramids."""
        raise NotImplementedError

    def requires(self) -> list[Stage]:
        reading: list[Stage] = [ReadPosts(dataset=self.dataset)]
        if not self.with_pictures():
            return reading
        return [*reading, self.extraction, self.grounding, *super().requires()]

    @property
    def extraction(self) -> ExtractPyramid:
        """The stage that computes the pyramids."""
        return ExtractPyramid(dataset=self.dataset, crops=self.crops)

    def pictures(self) -> PictureFiles | None:
        """Return the folders of the pyramids and their pictures; None for a text-only model."""
        if not self.with_pictures():
            return None
        return PictureFiles(
            extraction=self.extraction.folder,
            grounding=self.grounding.folder,
            pyramids=self.paths.pyramids,
            root=self.root,
            config=self.extraction.config,
        )

    def about(self) -> dict[str, Any]:
        """Return the inputs that decided the result, for `metrics.json`."""
        weights = {
            name: {
                "file": str(stage.sources()[source].absolute()),
                "digest": stage.key["sources"][source],
            }
            for name, (stage, source) in self.weights().items()
            if source in stage.sources()
        }
        return {
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "keys": [stage.key for stage in upstream(self)],
            **({"weights": weights} if weights or self.with_pictures() else {}),
            "versions": versions(),
        }

    def weights(self) -> dict[str, tuple[Stage, str]]:
        """Return the weights that decide the result: name -> a stage, and its source's name.

        `about` records path and digest (as in the keys) of those that are files or folders.
        """
        if not self.with_pictures():
            return {}
        return {
            "backbone": (self.extraction, "weights"),
            **self.grounder_weights(self.grounding),
        }

    @staticmethod
    def grounder_weights(grounding: GroundCrops) -> dict[str, tuple[Stage, str]]:
        """Return the weights of a learned grounder, in the form of `weights`."""
        return {"grounder": (grounding, "weights"), "vocabulary": (grounding, "vocabulary")}
