"""Predict: a data set's posts by one or two trained models, through the store."""

from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from pipeline.corpus.tasks import ReadPosts
from pipeline.engine.settings import existing
from pipeline.errors import SettingError
from pipeline.extraction.tasks import ReadsPyramids
from pipeline.machine import DEVICES, PRECISIONS
from pipeline.training.possible import check_tokenizer_files, task_of

NAMES = {"ner": "entities", "re": "relations"}


class Predict(ReadsPyramids):
    """Entities and relations of all posts of a data set, in the record's form."""

    RESULT = True

    model = luigi.Parameter(description="output of TrainNER, TrainRE or both, by a comma")
    precision = luigi.OptionalChoiceParameter(
        choices=PRECISIONS, default=None, description="default: that of each model's training"
    )
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    batch_size = luigi.IntParameter(default=64, significant=False)

    @cached_property
    def models(self) -> dict[str, Path]:
        """The models' own folders, by what they predict."""
        models: dict[str, Path] = {}
        for name in filter(None, map(str.strip, self.model.split(","))):
            named = existing("--model", name)
            folder = named / "model" if (named / "model").is_dir() else named
            kind = NAMES[task_of(folder)]
            check_tokenizer_files(folder, "run what made the model again")
            if kind in models:
                raise SettingError(f"--model: expected one model for {kind}, found two")
            models[kind] = folder
        if not models:
            raise SettingError("--model: expected the output of TrainNER or TrainRE, found none")
        return models

    def precisions(self) -> dict[str, str]:
        """The precision of each model's forward pass."""
        from pipeline.training.results import precision_of

        return {kind: self.precision or precision_of(model) for kind, model in self.models.items()}

    def with_pictures(self) -> bool:
        from pipeline.training.results import needs_pictures

        return any(map(needs_pictures, self.models.values()))

    def settings(self) -> dict[str, Any]:
        return {"precision": self.precisions()}

    def sources(self) -> dict[str, Path]:
        return self.models

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import load_posts
        from pipeline.engine.answers import Answers
        from pipeline.prediction.stored import Run, predict_into

        posts = load_posts(ReadPosts(dataset=self.dataset).folder)
        digests, precisions = self.key["sources"], self.precisions()
        run = Run(
            {model: (digests[kind], precisions[kind]) for kind, model in self.models.items()},
            self.pictures(),
            self.device,
            self.batch_size,
        )
        with Answers(self.paths.store_root / "predictions.sqlite") as answers:
            predict_into(folder, posts, self.root, run, answers)

    def lines(self) -> list[str]:
        return [str(self.folder / "predictions.jsonl")]
