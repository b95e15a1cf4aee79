"""The task graph: each stage, the folder of its code, and its input → output.

    pipeline/corpus      ImportPosts               a tool's export → texts and pictures of your own
    pipeline/corpus      MakeDemo → ReadPosts      a data set's texts → posts.jsonl
    pipeline/grounding   └─ GroundCrops            phrases → boxes in the picture
    pipeline/extraction     └─ ExtractPyramid      picture and crops → rows of the store
    pipeline/description    └─ DescribePictures    pictures → what they show, in words
    pipeline/training          └─ TrainRE          rows and texts → relations: model, scores
                               └─ TrainNER         rows and texts → entities: model, scores
                               └─ Evaluate         a saved model on a data set
                                  ImportReleased   a published checkpoint → a model folder
    pipeline/prediction        └─ Predict          saved models on all posts: entities, relations
                                  ShowPredictions  a page: with pictures and without, and why
    pipeline/experiments       └─ Controls         a model → scores with wrong pictures, with none
                                  Table1           runs of variants and seeds → a table (Table 1)
                                  LowResource      runs on shares of the posts → curves (Figure 3)
                                  CrossTask        runs started from other runs → gains (Table 3)
                                  Gates            a run → its gates (Figure 4)
                                  Cases            runs → posts, predictions, attention (Table 2)
                                  Report           all runs and experiments → one page
    pipeline/grounding      WriteCrops, EvaluateGrounding: from GroundCrops's output
    pipeline/description    ShowCrops: from GroundCrops's and DescribePictures' outputs

    luigi --module tasks ExtractPyramid --dataset mnre
    luigi --module tasks TrainRE

Each parameter belongs to one task. To set one of an upstream task, put that task's name before it
(`TrainRE --ExtractPyramid-weights random`), or set it in luigi.cfg (`[ExtractPyramid]`).
"""

import sys
from pathlib import Path

import luigi

from model.systems import check_own
from pipeline.corpus import DEMO
from pipeline.corpus.tasks import ImportPosts, MakeDemo, ReadPosts
from pipeline.description.tasks import DescribePictures, ShowCrops
from pipeline.engine import command_line, configuration, console
from pipeline.engine.listing import Listing
from pipeline.engine.outputs import folders
from pipeline.engine.paths import paths
from pipeline.engine.prune import prune
from pipeline.engine.stage import Stage
from pipeline.engine.status import status
from pipeline.experiments.tasks import (
    Cases,
    Controls,
    CrossTask,
    Gates,
    LowResource,
    Report,
    Table1,
)
from pipeline.extraction.tasks import ExtractPyramid
from pipeline.grounding.tasks import EvaluateGrounding, GroundCrops, WriteCrops
from pipeline.prediction.tasks import Predict, ShowPredictions
from pipeline.training.tasks import (
    Evaluate,
    ImportReleased,
    Recipes,
    Scores,
    TrainNER,
    TrainRE,
)

DATA_STAGES = (  # of every data set
    *(ReadPosts, GroundCrops, ExtractPyramid, DescribePictures, TrainRE, TrainNER),
)
STAGES = (
    *(MakeDemo, *DATA_STAGES, Evaluate, Predict, ShowPredictions, ImportReleased),
    *(ShowCrops, WriteCrops, EvaluateGrounding),
    *(Controls, Table1, LowResource, CrossTask, Gates, Cases),
)
LISTINGS = (ImportPosts, Recipes, Scores, Report)  # with Status, Prune below; they always run


def stages_of(dataset: str) -> list[Stage]:
    """Return all stages of a data set in the present configuration, upstream first."""
    first: list[Stage] = [MakeDemo()] if dataset == DEMO else []
    return first + [stage(dataset=dataset) for stage in DATA_STAGES]


class Status(Listing):
    """For each stage of a data set, print fresh, or stale and which part of its key changed.

    DescribePictures is left out where no training reads picture texts and none were ever made.
    """

    dataset = luigi.Parameter(default="mnre")

    def lines(self) -> list[str]:
        stages = stages_of(self.dataset)
        described = folders(paths().store_root, DescribePictures.STAGE)
        if not described and not any(getattr(stage, "knowledge", False) for stage in stages):
            stages = [stage for stage in stages if not isinstance(stage, DescribePictures)]
        return status(stages)


class Prune(Listing):
    """Remove outputs that the present configuration doesn't name, except results."""

    dry_run = luigi.BoolParameter(description="only list what would be removed")
    runs = luigi.BoolParameter(
        description="also remove runs, evaluations, predictions, imports, pages and written crops"
    )

    def lines(self) -> list[str]:
        return prune(paths(), STAGES, stages_of, self.runs, self.dry_run)


console.set_up()
configuration.read_own(Path(__file__).resolve().parent)
with configuration.errors_in_one_line():
    check_own()
command_line.check(sys.argv[1:], module=__name__)
