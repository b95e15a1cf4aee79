"""Predict: a data set's posts by one or two trained models, through the store."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from pipeline.corpus.post import Post
from pipeline.corpus.tasks import ReadPosts
from pipeline.engine.files import need_space, size_of
from pipeline.engine.settings import check, existing
from pipeline.errors import SettingError
from pipeline.machine import DEVICES, PRECISIONS
from pipeline.training.possible import check_same_pyramids, check_tokenizer_files, task_of
from pipeline.training.tasks import RunsModel

NAMES = {"ner": "entities", "re": "relations"}


class Predict(RunsModel):
    """Entities and relations of all posts of a data set, in the record's form."""

    RESULT = True

    model = luigi.Parameter(description="output of TrainNER, TrainRE or both, by a comma")
    precision = luigi.OptionalChoiceParameter(
        choices=PRECISIONS, default=None, description="default: that of each model's training"
    )
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    batch_size = luigi.IntParameter(default=64, significant=False, description="posts")

    @cached_property
    def models(self) -> dict[str, Path]:
        """The models' own folders, by what they predict: "entities", "relations"."""
        models: dict[str, Path] = {}
        for name in filter(None, map(str.strip, self.model.split(","))):
            named = existing("--model", name)
            folder = named / "model" if (named / "model").is_dir() else named
            kind = NAMES[task_of(folder)]
            if kind in models:
                raise SettingError(
                    f"--model: expected one model for entities and one for relations, found two "
                    f"for {kind}: {models[kind]} and {folder}"
                )
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

    def check_posts(self, posts: Sequence[Post]) -> None:
        from pipeline.prediction.posts import posts_to_predict

        check("--batch-size", "1 or more", self.batch_size, self.batch_size > 0)
        for model in self.models.values():
            check_tokenizer_files(model, "run what made the model again")
        check_same_pyramids([*self.models.values()])
        posts_to_predict(posts, "entities" in self.models)

    def settings(self) -> dict[str, Any]:
        return {"precision": self.precisions()}

    def sources(self) -> dict[str, Path]:
        return self.models

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import load_posts
        from pipeline.engine.answers import Answers
        from pipeline.prediction.stored import StoredRun, Used, predict_into

        texts = ReadPosts(dataset=self.dataset).folder
        need_space(folder, 8 * size_of(texts), self.STAGE)
        posts = load_posts(texts)
        self.check_posts(posts)
        digests, precisions = self.key["sources"], self.precisions()
        run = StoredRun(
            version=self.VERSION,
            models=[
                Used(path, digests[kind], precisions[kind]) for kind, path in self.models.items()
            ],
            files=self.pictures(),
            device=self.device,
            batch_size=self.batch_size,
        )
        with Answers(self.paths.store_root / "predictions.sqlite") as answers:
            predict_into(folder, posts, self.root, run, answers, self.check_sources)

    def lines(self) -> list[str]:
        return [f"predictions  {self.folder / 'predictions.jsonl'}"]
