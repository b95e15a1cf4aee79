"""The stages Predict and ShowPredictions: predict a data set; compare two sets of models."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from pipeline.corpus.post import SPLITS, Post
from pipeline.corpus.tasks import ReadPosts
from pipeline.engine.files import near, need_space, size_of
from pipeline.engine.settings import check
from pipeline.engine.stage import Stage
from pipeline.errors import DataError, SettingError
from pipeline.machine import DEVICES, PRECISIONS
from pipeline.training.possible import (
    PREDICTED,
    check_same_pyramids,
    check_tokenizer_files,
    check_training,
    model_folder,
    task_of,
)
from pipeline.training.tasks import NO_KNOWLEDGE, RunsModel, TrainNER, TrainRE

Models = dict[str, Path]  # "entities", "relations" -> the folder of a saved model


def models_named(option: str, value: str) -> Models:
    """Return the models that an option names: runs or model folders, separated by a comma.

    Raises DataError, SettingError.
    """
    models: Models = {}
    for name in filter(None, map(str.strip, value.split(","))):
        folder = model_folder(option, name)
        kind = PREDICTED[task_of(folder)]
        if kind in models:
            raise SettingError(
                f"{option}: expected one model for entities and one for relations, found two "
                f"for {kind}: {models[kind]} and {folder}"
            )
        models[kind] = folder
    if not models:
        raise SettingError(f"{option}: expected the output of TrainNER or TrainRE, found none")
    return models


class Predict(RunsModel):
    """Predict entities and relations of all posts of a data set, in the format of records."""

    RESULT = True

    model = luigi.Parameter(description="output of TrainNER, TrainRE, or both with a comma between")
    precision = luigi.OptionalChoiceParameter(
        choices=PRECISIONS, default=None, description="default: that of each model's training"
    )
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    batch_size = luigi.IntParameter(default=64, significant=False, description="posts")

    @cached_property
    def models(self) -> Models:
        """The folders of the saved models, by task: "entities", "relations"."""
        return models_named("--model", self.model)

    def precisions(self) -> dict[str, str]:
        """Return the precision of each model's forward pass."""
        from pipeline.training.results import precision_of

        return {kind: self.precision or precision_of(model) for kind, model in self.models.items()}

    def with_pictures(self) -> bool:
        from pipeline.training.results import needs_pictures

        return any(map(needs_pictures, self.models.values()))

    def with_texts(self) -> bool:
        from pipeline.training.results import needs_texts

        return any(map(needs_texts, self.models.values()))

    def saved_models(self) -> list[Path]:
        return [*self.models.values()]

    def check_posts(self, posts: Sequence[Post]) -> None:
        from pipeline.prediction.posts import posts_to_predict

        check("--batch-size", "1 or more", self.batch_size, self.batch_size > 0)
        for model in self.models.values():
            check_tokenizer_files(model, "make the model again")
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
            texts=self.texts(),
            device=self.device,
            batch_size=self.batch_size,
        )
        with Answers(self.paths.store_root / "predictions.sqlite") as answers:
            predict_into(folder, posts, self.root, run, answers, self.check_sources)

    def lines(self) -> list[str]:
        return [f"predictions  {near(self.folder / 'predictions.jsonl')}"]


class ShowPredictions(RunsModel):
    """Show on one HTML page what models predict with pictures and without, and why."""

    RESULT = True

    model = luigi.OptionalStrParameter(
        default=None,
        description="output of TrainNER, TrainRE, or both with a comma between; default: both of "
        "this data set, trained if missing",
    )
    beside = luigi.OptionalStrParameter(
        default=None,
        description="models to compare with, named like --model; default: none; without --model, "
        "the text-only variants of the same models",
    )
    posts = luigi.IntParameter(default=9, description="largest number of posts on the page")
    split = luigi.ChoiceParameter(choices=SPLITS, default="test")
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)

    @cached_property
    def trainings(self) -> list[list[TrainNER | TrainRE]]:
        """The runs of each side that no option names: those of the present configuration."""
        sides: list[list[TrainNER | TrainRE]] = []
        if self.model is None:
            same = {"dataset": self.dataset, "crops": self.crops, "seeds": ()}
            runs = [kind(**same) for kind in (TrainNER, TrainRE)]
            texts = {"knowledge_from": self.knowledge_from} if self.knowledge_from else {}
            sides.append([run.clone(**texts) if run.with_texts() else run for run in runs])
            if self.beside is None:
                sides.append([run.text_only(**NO_KNOWLEDGE) for run in sides[0]])
        return sides

    @cached_property
    def named(self) -> dict[str, Models]:
        """The models of each side that an option names, by option."""
        given = {"--model": self.model, "--beside": self.beside}
        return {
            option: models_named(option, value)
            for option, value in given.items()
            if value is not None
        }

    def sides(self) -> list[Models]:
        """Return the models to compare; the predictions of the first side are explained."""
        trained = [
            {PREDICTED[run.TASK]: run.folder / "model" for run in runs} for runs in self.trainings
        ]
        return [*trained, *self.named.values()]

    def with_pictures(self) -> bool:
        from pipeline.training.results import needs_pictures

        return any(run.with_pictures() for runs in self.trainings for run in runs) or any(
            needs_pictures(model) for models in self.named.values() for model in models.values()
        )

    def with_texts(self) -> bool:
        from pipeline.training.results import needs_texts

        return any(run.with_texts() for runs in self.trainings for run in runs) or any(
            needs_texts(model) for models in self.named.values() for model in models.values()
        )

    def saved_models(self) -> list[Path]:
        return [model for models in self.named.values() for model in models.values()]

    def describers(self) -> set[str | None]:
        trained = [run for runs in self.trainings for run in runs if run.with_texts()]
        return super().describers().union(*(run.describers() for run in trained))

    def check_posts(self, posts: Sequence[Post]) -> None:
        from pipeline.prediction.posts import posts_to_predict

        check("--posts", "1 or more", self.posts, self.posts > 0)
        sides = self.sides()
        if len(sides) > 1 and sides[0].keys() != sides[1].keys():
            first, second = (" and ".join(sorted(side)) for side in sides)
            raise SettingError(
                f"--beside: expected models for {first}, the tasks of the models to compare with, "
                f"found models for {second}"
            )
        if self.trainings:
            self._check_trainings(posts)
        for models in self.named.values():
            for model in models.values():
                check_tokenizer_files(model, "make the model again")
        check_same_pyramids([model for models in self.named.values() for model in models.values()])
        posts_to_predict(posts, "entities" in sides[0])

    def _check_trainings(self, posts: Sequence[Post]) -> None:
        for task in PREDICTED:
            try:
                check_training(task, posts)
            except DataError as error:
                raise DataError(f"{error}; name the runs to show with --model RUN") from error

    def requires(self) -> list[Stage]:
        # Text-only runs come first: the others report their scores beside them.
        return [*super().requires(), *(run for runs in self.trainings[::-1] for run in runs)]

    def settings(self) -> dict[str, Any]:
        # The key names required stages, so two runs of one stage collide there; list each here.
        trained = [[run.fingerprint for run in runs] for runs in self.trainings]
        return {"posts": self.posts, "split": self.split, "trainings": trained}

    def sources(self) -> dict[str, Path]:
        return {
            f"{option.removeprefix('--')} {kind}": folder
            for option, models in self.named.items()
            for kind, folder in models.items()
        }

    def work(self, folder: Path) -> None:
        from pipeline.corpus.posts import load_posts
        from pipeline.prediction.comparison import Comparison, show_comparison

        need_space(folder, 150_000 * self.posts, self.STAGE)  # pictures are shown small
        posts = load_posts(ReadPosts(dataset=self.dataset).folder)
        self.check_posts(posts)
        run = Comparison(
            sides=self.sides(),
            root=self.root,
            files=self.pictures(),
            texts=self.texts(),
            device=self.device,
            split=self.split,
            most=self.posts,
        )
        show_comparison(posts, run, f"Predictions for {self.dataset}", folder / "predictions.html")

    def lines(self) -> list[str]:
        from pipeline.training.results import score_table

        runs = [
            model.parent
            for models in self.sides()
            for model in models.values()
            if (model.parent / "metrics.json").is_file()
        ]
        runs.sort(key=lambda run: run.parent.name)
        page = near(self.folder / "predictions.html")
        return [*(score_table(runs) if runs else ()), f"open in a browser: {page}"]
