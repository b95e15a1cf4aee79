"""Tasks of the paper's tables and figures, over runs that are stages of their own."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import luigi

from model.hvpnet.variants import (
    FLAT,
    HVPNET,
    ONE_TO_THREE,
    ONLY_OBJECTS,
    PAPER,
    RELEASED,
    STYLES,
    TEXT_ONLY,
    VARIANTS,
)
from model.systems import BERT_CRF, declared, variants_of
from model.systems import names as system_names
from pipeline.corpus import DEMO
from pipeline.corpus.files import clip, is_file_name
from pipeline.corpus.post import Post
from pipeline.corpus.tasks import ReadPosts
from pipeline.engine.command_line import is_given
from pipeline.engine.files import near, read_json
from pipeline.engine.listing import Listing
from pipeline.engine.lists import Names, Numbers
from pipeline.engine.paths import paths
from pipeline.engine.settings import check
from pipeline.engine.stage import Stage
from pipeline.engine.versions import versions
from pipeline.errors import DataError, SettingError
from pipeline.experiments.chosen import held_out, with_ids
from pipeline.experiments.published import LOW_RESOURCE_SEEDS, NOT_STARTED, SEEDS, SHARES
from pipeline.experiments.runs import OTHERS, TrainedRun, name_of
from pipeline.grounding.config import READ_PHRASES
from pipeline.grounding.phrases import MODES
from pipeline.machine import DEVICES, PRECISIONS
from pipeline.training.possible import PREDICTED, check_training
from pipeline.training.recipes import CROSS_TASK, LOW_RESOURCE
from pipeline.training.tasks import NO_KNOWLEDGE, OfModel, TrainNER, TrainRE

TRAININGS: Mapping[str, type[TrainRE] | type[TrainNER]] = {"re": TrainRE, "ner": TrainNER}
# Tasks of a data set, unless --tasks says otherwise; other data sets have both.
TASKS = {"mnre": ("re",), "twitter2015": ("ner",), "twitter2017": ("ner",)}
BOTH = ("re", "ner")
ALL = "all"  # in --systems: those made for the data set's task
OF_HVPNET = {HVPNET: HVPNET, BERT_CRF: TEXT_ONLY}  # system -> the variant that it is
NO_TEXTS, SHUFFLED_TEXTS = "none", "shuffled:"  # in Table1 --knowledge
QUICK = (0.05, 0.2, 0.5)  # shares of LowResource with --quick
Training = TrainRE | TrainNER


class Controls(OfModel):
    """A model's scores on test with other posts' pictures or texts, and without any."""

    seed = luigi.IntParameter(default=0, description="of the order of pictures")
    precision = luigi.OptionalChoiceParameter(
        choices=PRECISIONS, default=None, description="default: that of the model's training"
    )

    def check_posts(self, posts: Sequence[Post]) -> None:
        if not self.with_pictures() and not self.with_texts():
            raise SettingError(
                "--model: expected a model that uses pictures or their texts, found a text-only "
                f"one: {self.model_folder()}"
            )
        super().check_posts(posts)

    @property
    def title(self) -> str:
        run = Path(self.model).resolve()
        return f"{self.STAGE} of {run.parent.name}/{run.name}"

    def precision_used(self) -> str:
        """Return the precision of the forward pass."""
        from pipeline.training.results import precision_of

        return self.precision or precision_of(self.model_folder())

    def settings(self) -> dict[str, Any]:
        return {"seed": self.seed, "precision": self.precision_used()}

    def work(self, folder: Path) -> None:
        from pipeline.experiments.controls import controls_into

        controls_into(
            folder,
            self.model_folder(),
            ReadPosts(dataset=self.dataset).folder,
            self.pictures(),
            self.device,
            self.precision_used(),
            self.seed,
            self.about(),
            self.texts(),
        )

    def lines(self) -> list[str]:
        from pipeline.experiments.controls import lines

        return lines(read_json(self.folder / "metrics.json"))


@dataclass(frozen=True)
class Runs:
    """The trainings of a row, by seed. fields, alone: as in `rows.Row`."""

    dataset: str
    task: str
    fields: Mapping[str, Any]
    trainings: Mapping[int, Training]
    alone: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The row's name."""
        return name_of(self.fields)

    def posts(self) -> Sequence[Post] | None:
        """Return the data set's posts; None if they can't be read yet."""
        return next(iter(self.trainings.values()))._posts()

    @property
    def has_controls(self) -> bool:
        """True if there is something to shuffle or to leave out in the runs' inputs.

        A tuned backbone computes its own pyramids; a run on shuffled texts is a control itself.
        """
        training = next(iter(self.trainings.values()))
        config = training.config
        if config.finetune_backbone or config.shuffle_knowledge:
            return False
        return training.with_pictures() or training.with_texts()

    def controls(self) -> list[Controls]:
        """Return the controls of each run. The runs must be finished."""
        if not self.has_controls:
            return []
        return [
            Controls(
                dataset=run.dataset,
                crops=run.crops,
                knowledge_from=run.knowledge_from,
                model=str(run.folder),
                seed=0,
                precision=None,
                device=run.device,
            )
            for run in self.trainings.values()
        ]


class _Experiment(Stage):
    """A table or figure made of training runs: missing ones are trained first."""

    RESULT = KEPT = True

    published_seeds: tuple[int, ...] = SEEDS

    datasets = Names(default=("mnre",), description="the first names the output's folder")
    tasks = Names(
        default=(),
        choices=BOTH,
        description="re, ner or both; none: re for mnre, ner for twitter2015 and twitter2017, "
        "both for others",
    )
    seeds = Numbers(default=(), description="a run each; none: the paper's; with --quick its first")
    variants = Names(default=(), choices=VARIANTS)
    styles = Names(default=(PAPER,), choices=STYLES)
    quick = luigi.BoolParameter(description="one seed and fewer points, unless they are given")

    # The first data set, which names the output's folder; no option of its own.
    dataset: Any = property(lambda self: self.datasets[0])

    def seeds_used(self) -> tuple[int, ...]:
        """Return the seeds given, else the paper's, or its first with --quick."""
        return tuple(sorted(self.seeds)) or self.published_seeds[: 1 if self.quick else None]

    def tasks_of(self, dataset: str) -> tuple[str, ...]:
        """Return the tasks to do on a data set."""
        return self.tasks or TASKS.get(dataset, BOTH)

    def rows(self) -> list[Runs]:
        """Return the rows: each has the runs of all seeds."""
        raise NotImplementedError

    def training(self, dataset: str, task: str, **values: Any) -> Training:
        """Return a training run with these values; the others are configured as always.

        All runs of a data set and task have the precision of the first, whatever outputs exist.
        """
        given = {"dataset": dataset, "seeds": (), "system": HVPNET, **values}
        given |= unread(TRAININGS[task](**given))
        self._decided.setdefault(task, {*given}).intersection_update(given)
        if (dataset, task) not in self._precisions:
            self._precisions[dataset, task] = TRAININGS[task](**given).config.precision
        return TRAININGS[task](**given, precision=self._precisions[dataset, task])

    @cached_property
    def _precisions(self) -> dict[tuple[str, str], str]:
        return {}

    @cached_property
    def _decided(self) -> dict[str, set[str]]:
        """By task, the options that the experiment itself gives all its trainings."""
        return {}

    def requires(self) -> list[Stage]:
        return [run for row in self.rows() for run in row.trainings.values()]

    def deps(self) -> Any:
        """Return the required stages. Raises what `check_options` raises before any is made."""
        with self._errors_logged():
            self.check_options()
        return super().deps()

    def check_options(self) -> None:
        """Raise SettingError or DataError if the experiment can't be made."""
        from pipeline.pages.charts import check_installed

        check_installed()
        rows = self.rows()
        if not rows:
            variants = ", ".join(self.variants)
            raise SettingError(f"--variants: expected some that --styles has, found {variants}")
        for task, names in self._decided.items():
            self._check_not_given(TRAININGS[task], names)
        for row in self._kinds():
            self._check_labels(row)

    def _check_not_given(self, training: type[Training], names: Iterable[str]) -> None:
        """Raise SettingError for an option of trainings that the experiment would overrule."""
        own = dict(self.get_params())
        for name in sorted(name for name in names if is_given(training, name)):
            words = (name, f"{name}s", f"{name.removeprefix('train_')}s")
            instead = [f"use --{word.replace('_', '-')}" for word in words if word in own]
            why = f"{self.STAGE} chooses it"
            if name == "system" and not instead:
                why = f"{self.STAGE} trains {HVPNET} alone"
            raise SettingError(
                f"--{training.STAGE}-{name.replace('_', '-')}: expected no value, here or in "
                f"luigi.cfg, as {why}; {[*instead, 'remove it'][0]}"
            )

    def _kinds(self) -> list[Runs]:
        """Return a row of each data set and task."""
        return [*{(row.dataset, row.task): row for row in self.rows()}.values()]

    def _check_labels(self, row: Runs) -> None:
        """Raise DataError if a data set of the user's own lacks the labels of a task."""
        if self.tasks or row.dataset in TASKS or row.dataset == DEMO:
            return
        posts = row.posts()
        try:
            check_training(row.task, posts or [])
        except DataError as error:
            if posts is not None:
                raise DataError(f"{row.dataset}: {error}; choose the task with --tasks") from error

    @property
    def style(self) -> str:
        """The style of all runs. Raises SettingError if several are given."""
        if len(self.styles) != 1:
            raise SettingError(f"--styles: expected one style, found {', '.join(self.styles)}")
        return str(self.styles[0])

    def _controlled(self) -> list[Runs]:
        """Return the rows whose scores have controls beside them."""
        return [row for row in self.rows() if row.has_controls]

    def later(self) -> Iterator[list[Stage]]:
        """Yield stages whose keys need the finished runs, as they depend on models' contents."""
        yield [control for row in self.rows() for control in row.controls()]

    def run(self) -> Iterator[list[Stage]]:  # type: ignore[override]
        """Make what needs the finished runs, then the output. Luigi calls it again after each."""
        yield from self.later()
        super().run()

    def settings(self) -> dict[str, Any]:
        # The key names required stages, so two runs of one stage collide there; list each here.
        return {
            "runs": [
                [row.dataset, row.task, row.name, *(t.fingerprint for t in row.trainings.values())]
                for row in self.rows()
            ],
            "controls": Controls.VERSION if self._controlled() else None,
        }

    def scored_rows(self, rows: Sequence[Runs]) -> list[Any]:
        """Return rows with their finished runs."""
        from pipeline.experiments.rows import Row

        return [
            Row(
                row.dataset,
                row.task,
                row.fields,
                {seed: finished(run, row.name) for seed, run in row.trainings.items()},
                [control.folder for control in row.controls()],
                row.alone,
            )
            for row in rows
        ]

    def evidence(self, rows: Sequence[Runs], controls: bool = True) -> list[Path]:
        """Return the files of runs and controls that the output was computed from.

        They are listed in the manifest, so that an output without its evidence is not whole.
        """
        runs = [run.folder for row in rows for run in row.trainings.values()]
        beside = [control.folder for row in rows for control in row.controls()] if controls else []
        return [
            file
            for folder in (*runs, *beside)
            for file in (folder / "metrics.json", *sorted(folder.rglob("predictions.jsonl")))
        ]

    def about(self) -> dict[str, Any]:
        """Return the inputs that decided the result, for `results.json`."""
        return {
            "experiment": self.STAGE,
            "datasets": [*self.datasets],
            "fingerprint": self.fingerprint,
            "settings": self.settings(),
            "versions": versions(),
        }


def unread(training: Training) -> dict[str, Any]:
    """Return the options that a training's system does not read, with values of no effect.

    They may be given for the trainings of other systems.
    """
    system = declared(training.system)
    values: dict[str, Any] = {} if training.form in (None, *system.forms) else {"form": None}
    if system.reads_words:
        values |= {"encoder": None, "start_from": None}
    else:
        values["word_vectors"] = None
    if system.reads_texts:
        return values
    if system.reads_words:
        return {**values, **NO_KNOWLEDGE}
    return values if training.knowledge else values | {"knowledge_from": ()}


def finished(training: Training, name: str) -> TrainedRun:
    """Return a finished training as experiments read it."""
    posts = ReadPosts(dataset=training.dataset).folder
    files, texts = training.pictures(), training.texts()
    return TrainedRun(training.folder, name, posts, training.root, files, texts)


class _OfSystems(_Experiment):
    """An experiment that also compares other systems of the paper's Table 1."""

    systems = Names(
        default=(),
        choices=lambda: (ALL, *system_names()),
        description=f"other systems than HVPNeT; {ALL}: those made for the data set's task",
    )

    def of_hvpnet(self, task: str, variants: Sequence[str]) -> list[dict[str, str]]:
        """Return the fields of a row for each variant. variants: those if none are given."""
        asked = [name for name in self._asked() if task in declared(name).tasks]
        more = [OF_HVPNET[name] for name in asked if name in OF_HVPNET]
        return [{"variant": v} for v in dict.fromkeys([*(self.variants or variants), *more])]

    def of_others(self, task: str) -> list[dict[str, str]]:
        """Return the fields of a row for each other system that is made for a task."""
        return [
            {"variant": variants_of(name)[0], "system": name}
            for name in self._asked()
            if name not in OF_HVPNET and task in declared(name).tasks
        ]

    def check_options(self) -> None:
        super().check_options()
        for dataset, task, name in self._unsuited():
            if name in self.systems:
                raise SettingError(
                    f"--systems: expected systems made for {PREDICTED[task]} ({dataset}), found "
                    f"{name}, made for {' and '.join(PREDICTED[t] for t in declared(name).tasks)}; "
                    f"choose the task with --tasks, or give --systems {ALL}, which leaves it out"
                )

    def left_out(self) -> list[str]:
        """Return a line for each data set and task that leaves out some of all systems."""
        missing: dict[tuple[str, str], list[str]] = {}
        for dataset, task, name in self._unsuited():
            missing.setdefault((dataset, task), []).append(name)
        return [
            f"{dataset}, {PREDICTED[task]}: without {', '.join(names)}, made for another task"
            for (dataset, task), names in missing.items()
        ]

    def lines(self) -> list[str]:
        return [*self.left_out(), *super().lines()]

    def _asked(self) -> list[str]:
        every = [name for name in system_names() if name != HVPNET]
        return every if ALL in self.systems else [*self.systems]

    def _unsuited(self) -> Iterator[tuple[str, str, str]]:
        """Yield data set, task and system where the system is not made for the task."""
        for dataset in self.datasets:
            for task in self.tasks_of(dataset):
                for name in self._asked():
                    if task not in declared(name).tasks:
                        yield dataset, task, name


class _Scores(_Experiment):
    """An experiment that gives scores: it prints its table."""

    def lines(self) -> list[str]:
        from pipeline.experiments.table1 import text

        return [*text(read_json(self.folder / "results.json")), str(near(self.folder))]


class Table1(_OfSystems, _Scores):
    """Table 1: scores of variants and systems over seeds, with controls and intervals."""

    crops = Names(
        default=(),
        choices=MODES,
        description="phrases that choose the crops, a row each; none: --GroundCrops-phrases",
    )
    knowledge = Names(
        default=(),
        description="picture texts, a row each: none, a describer, or files joined by +, in whose "
        "names {dataset} is replaced; with shuffled: before it, trained on other posts' texts",
    )

    def rows(self) -> list[Runs]:
        return [
            Runs(dataset, task, fields, self._trainings(dataset, task, fields))
            for dataset in self.datasets
            for task in self.tasks_of(dataset)
            for fields in self._fields(dataset, task)
        ]

    def _fields(self, dataset: str, task: str) -> Iterator[dict[str, Any]]:
        own = self.of_hvpnet(task, (TEXT_ONLY, HVPNET, FLAT, ONE_TO_THREE, ONLY_OBJECTS))
        for style in self.styles:
            for kind in own:
                if style == RELEASED and kind["variant"] in (FLAT, ONE_TO_THREE):
                    continue  # these need blocks, which the published code does not have
                yield from self._inputs(dataset, kind, style)
        for kind in self.of_others(task):
            yield from self._inputs(dataset, kind, PAPER)

    def _inputs(
        self, dataset: str, kind: Mapping[str, str], style: str
    ) -> Iterator[dict[str, Any]]:
        """Yield the fields of a row for each choice of crops and texts that is read."""
        named = style if len(self.styles) > 1 else None
        crops = self.crops if kind["variant"] != TEXT_ONLY else ()
        system = declared(kind.get("system", HVPNET))
        texts = {} if system.reads_words or system.reads_texts else self._texts(dataset)
        for phrases in crops or (None,):
            for name in texts or (None,):
                yield {**kind, "style": named, "crops": phrases, "knowledge": name}

    def _texts(self, dataset: str) -> dict[str | None, dict[str, Any]]:
        """Return the options of each training on picture texts, by the row's name of the texts."""
        return dict(texts_of(value, dataset) for value in self.knowledge)

    def _trainings(self, dataset: str, task: str, fields: Mapping[str, Any]) -> dict[int, Training]:
        values = {name: fields[name] for name in ("variant", "system", "crops") if name in fields}
        values["style"] = PAPER if "system" in fields else fields["style"] or self.styles[0]
        without = NO_KNOWLEDGE if self.knowledge else {}
        values |= self._texts(dataset).get(fields["knowledge"], without)
        return {
            seed: self.training(dataset, task, seed=seed, **values) for seed in self.seeds_used()
        }

    def check_options(self) -> None:
        super().check_options()
        for dataset in self.datasets:
            names = [texts_of(value, dataset)[0] for value in self.knowledge]
            if len({*names}) < len(names):
                raise SettingError(
                    "--knowledge: expected texts with different names, as they name the rows, "
                    f"found {', '.join(map(str, names))}"
                )
        for run in (run for row in self.rows() for run in row.trainings.values()):
            finder = run.grounding.config.finder
            if run.crops is not None and finder not in READ_PHRASES:
                raise SettingError(
                    "--crops: expected a grounder that reads phrases "
                    f"({' or '.join(READ_PHRASES)}), found {finder}; give one with "
                    "--GroundCrops-grounder"
                )

    def work(self, folder: Path) -> list[Path]:
        from pipeline.experiments.table1 import table1_into

        table1_into(folder, self.scored_rows(self.rows()), self.about())
        return self.evidence(self.rows())


def texts_of(value: str, dataset: str) -> tuple[str | None, dict[str, Any]]:
    """Read a value of `Table1 --knowledge`.

    Returns the name of the texts in tables, None for none, and the training's options.
    """
    if value == NO_TEXTS:
        return None, dict(NO_KNOWLEDGE)
    is_shuffled = value.startswith(SHUFFLED_TEXTS)
    source = value.removeprefix(SHUFFLED_TEXTS).replace("{dataset}", dataset).split("+")
    stems = [Path(name).stem.removeprefix(f"{dataset}.") for name in source]
    name = f"{OTHERS if is_shuffled else ''}{'+'.join(stems)}"
    return name, {
        "knowledge": True,
        "knowledge_from": tuple(source),
        "shuffle_knowledge": is_shuffled,
    }


class LowResource(_Scores):
    """Figure 3: scores after training on a share of the posts."""

    published_seeds = LOW_RESOURCE_SEEDS

    shares = Names(default=(), description="percent of the training posts; none: the paper's")
    with_replacement = luigi.BoolParameter(description="draw posts as the published script does")

    def shares_used(self) -> list[float]:
        """Return the shares of the training posts, from 0 to 1."""
        shares = []
        for text in self.shares:
            share = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0
            if not 0 < share <= 100:
                raise SettingError(f"--shares: expected percent such as 5,20,50, found {text!r}")
            shares.append(share / 100)
        return [*dict.fromkeys(shares)] or [*(QUICK if self.quick else SHARES)]

    def rows(self) -> list[Runs]:
        return [
            self._row(dataset, task, variant, share)
            for dataset in self.datasets
            for task in self.tasks_of(dataset)
            for share in self.shares_used()
            for variant in self.variants or (TEXT_ONLY, HVPNET)
        ]

    def _row(self, dataset: str, task: str, variant: str, share: float) -> Runs:
        trainings = {
            seed: self.training(
                dataset,
                task,
                recipe=LOW_RESOURCE,
                variant=variant,
                style=self.style,
                seed=seed,
                train_share=share,
                with_replacement=self.with_replacement,
            )
            for seed in self.seeds_used()
        }
        return Runs(dataset, task, {"variant": variant, "share": f"{100 * share:g} %"}, trainings)

    def work(self, folder: Path) -> list[Path]:
        from pipeline.experiments.low_resource import low_resource_into

        low_resource_into(folder, self.scored_rows(self.rows()), self.about())
        return self.evidence(self.rows())


class CrossTask(_Scores):
    """Table 3: training started from a run on another data set or task."""

    datasets = Names(
        default=("twitter2017", "mnre"), description="from each to each; the first names the output"
    )

    def rows(self) -> list[Runs]:
        """Return the rows that are not started from another run: of Table 1, and for comparison."""
        return [*self._sources(), *self._not_started()]

    def check_options(self) -> None:
        super().check_options()
        if len(self._targets()) < 2:
            found = " and ".join(f"{dataset} ({task})" for dataset, task in self._targets())
            raise SettingError(
                f"--datasets: expected two data sets, or one with both tasks, found {found}"
            )

    def _targets(self) -> list[tuple[str, str]]:
        return [(dataset, task) for dataset in self.datasets for task in self.tasks_of(dataset)]

    def _sources(self) -> list[Runs]:
        return [
            self._row(dataset, task, {"variant": variant, "source": None})
            for dataset, task in self._targets()
            for variant in self.variants or (TEXT_ONLY, HVPNET)
        ]

    def _not_started(self) -> list[Runs]:
        return [
            self._row(
                source.dataset,
                source.task,
                {**source.fields, "source": NOT_STARTED},
                recipe=CROSS_TASK,
            )
            for source in self._sources()
        ]

    def _started(self) -> list[Runs]:
        """Return the rows started from each other data set or task, whose runs must be finished."""
        not_started = self._not_started()
        return [
            self._row(
                row.dataset,
                row.task,
                {**row.fields, "source": f"from {source.dataset} ({source.task})"},
                source,
                row.fields,
                recipe=CROSS_TASK,
                encoder=None,  # it is that of the source
            )
            for source in self._sources()
            for row in not_started
            if row.fields["variant"] == source.fields["variant"]
            and (row.dataset, row.task) != (source.dataset, source.task)
        ]

    def _row(
        self,
        dataset: str,
        task: str,
        fields: Mapping[str, Any],
        source: Runs | None = None,
        alone: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Runs:
        trainings = {}
        for seed in self.seeds_used():
            start = None if source is None else str(source.trainings[seed].folder)
            trainings[seed] = self.training(
                dataset,
                task,
                variant=fields["variant"],
                style=self.style,
                seed=seed,
                start_from=start,
                **values,
            )
        return Runs(dataset, task, fields, trainings, alone)

    def later(self) -> Iterator[list[Stage]]:
        started = self._started()
        yield [run for row in started for run in row.trainings.values()]
        yield [control for row in (*self.rows(), *started) for control in row.controls()]

    def work(self, folder: Path) -> list[Path]:
        from pipeline.experiments.cross_task import cross_task_into

        rows = [*self.rows(), *self._started()]
        cross_task_into(folder, self.scored_rows(rows), self.about())
        return self.evidence(rows)


class _Shown(_Experiment):
    """Figures of a few posts: the runs have one seed, the first."""

    default_variants: tuple[str, ...]

    posts = Names(default=(), description="ids of posts to show, of one data set; none: chosen")
    most = luigi.IntParameter(default=8, description="most posts to show, unless they are named")
    quick = luigi.BoolParameter(significant=False, description="no effect: there is one seed")
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)

    def rows(self) -> list[Runs]:
        seed = self.seeds_used()[0]
        return [
            Runs(dataset, task, kind, {seed: run})
            for dataset in self.datasets
            for task in self.tasks_of(dataset)
            for kind in self.kinds(task)
            for style in [PAPER if "system" in kind else self.style]
            for run in [self.training(dataset, task, **kind, style=style, seed=seed)]
        ]

    def kinds(self, task: str) -> list[dict[str, str]]:
        """Return the fields of a row for each run of a task."""
        return [{"variant": variant} for variant in self.variants or self.default_variants]

    def check_options(self) -> None:
        super().check_options()
        check("--most", "1 or more", self.most, self.most > 0)
        if self.posts and len(self.datasets) > 1:
            raise SettingError(
                "--posts: expected one data set in --datasets, found "
                f"{', '.join(self.datasets)}; ids are of one data set"
            )
        for row in self._kinds() if self.posts else ():
            posts = row.posts()
            if posts is not None:
                split, shown = held_out(row.task, posts)
                with_ids(self.posts, shown.values(), f"{split} posts of {row.dataset}")

    def _controlled(self) -> list[Runs]:
        return []  # no scores

    def later(self) -> Iterator[list[Stage]]:
        return iter(())

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "posts": [*self.posts], "most": self.most}

    def finished_runs(self) -> Iterator[tuple[str, str, list[TrainedRun]]]:
        """Yield data set, task and finished runs."""
        for dataset in self.datasets:
            for task in self.tasks_of(dataset):
                same = [row for row in self.rows() if (row.dataset, row.task) == (dataset, task)]
                runs = [finished(run, row.name) for row in same for run in row.trainings.values()]
                yield dataset, task, runs

    def lines(self) -> list[str]:
        return [str(near(self.folder))]


class Gates(_Shown):
    """Figure 4: the gates of some posts, and their mean over all posts of test."""

    default_variants = (HVPNET,)

    def check_options(self) -> None:
        super().check_options()
        if without := {*self.variants} & {FLAT, ONE_TO_THREE, TEXT_ONLY}:
            raise SettingError(
                f"--variants: expected some with a gate ({HVPNET}, {ONLY_OBJECTS}), found "
                f"{', '.join(sorted(without))}"
            )

    def work(self, folder: Path) -> list[Path]:
        from pipeline.experiments.gates import gates_into

        for dataset, task, runs in self.finished_runs():
            for run in runs:
                inner = folder / f"{dataset}-{task}-{run.name}"
                inner.mkdir()
                gates_into(inner, run, self.posts, self.most, self.device)
        return self.evidence(self.rows(), controls=False)


class Cases(_OfSystems, _Shown):
    """Table 2: posts with the predictions of all runs, and the attention to their pictures."""

    default_variants = (HVPNET, FLAT, ONE_TO_THREE, ONLY_OBJECTS, TEXT_ONLY)

    def kinds(self, task: str) -> list[dict[str, str]]:
        return [*self.of_hvpnet(task, self.default_variants), *self.of_others(task)]

    def work(self, folder: Path) -> list[Path]:
        from pipeline.corpus.posts import load_posts
        from pipeline.experiments.cases import cases_into, published_cases

        for dataset, task, runs in self.finished_runs():
            inner = folder / f"{dataset}-{task}"
            inner.mkdir()
            published = published_cases(dataset, load_posts(runs[0].posts)) if task == "re" else []
            cases_into(inner, runs, self.posts or published, self.most, self.device)
        return self.evidence(self.rows(), controls=False)


class Report(Listing):
    """One page of every table and figure that the store has for some data sets."""

    datasets = Names(default=("mnre",))
    name = luigi.OptionalStrParameter(
        default=None, description="of the folder store/Report/NAME; none: the first data set"
    )
    folder = luigi.OptionalStrParameter(
        default=None, description="where the folder NAME is made; none: store/Report"
    )

    def lines(self) -> list[str]:
        from pipeline.experiments.report import PAGE, write_report
        from pipeline.pages.charts import check_installed

        check_installed()
        place = paths()
        name = self.name or self.datasets[0]
        if not is_file_name(name):
            raise SettingError(f"--name: expected the plain name of a folder, found {clip(name)}")
        folder = Path(self.folder or place.store_root / self.get_task_family()) / name
        write_report(folder, place.store_root, self.datasets, place.digests)
        return [f"open in a browser: {near(folder / PAGE)}"]
