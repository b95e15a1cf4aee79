"""Stages of training, import and evaluation, and the listings of recipes and scores."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import luigi

from model import systems
from model.hvpnet.variants import (
    HVPNET,
    PAPER,
    RELATION_HEADS,
    RELEASED,
    STYLES,
    TEXT_ONLY,
    VARIANTS,
)
from pipeline import corpus
from pipeline.corpus.post import Post
from pipeline.corpus.tasks import OfDataset, ReadPosts
from pipeline.description.config import FILE, OBJECTS
from pipeline.description.tasks import OfTexts
from pipeline.engine.files import near, need_space, read_json, size_of
from pipeline.engine.listing import Listing
from pipeline.engine.lists import Names, Numbers
from pipeline.engine.outputs import damage
from pipeline.engine.paths import paths
from pipeline.engine.settings import check, existing, on_disk, without_path
from pipeline.engine.stage import Stage
from pipeline.errors import DataError, SettingError
from pipeline.extraction.tasks import ReadsPyramids, precision_at_hand
from pipeline.grounding import noun_phrases
from pipeline.grounding.phrases import SPACY
from pipeline.grounding.tasks import GroundCrops
from pipeline.machine import DEVICES, PRECISIONS
from pipeline.training.config import (
    BACKBONE,
    MOST_UNKNOWN,
    OPTIMIZERS,
    SCHEDULES,
    SCRATCH,
    SGD,
    TrainConfig,
)
from pipeline.training.possible import (
    BESIDE,
    check_evaluation,
    check_labels,
    check_start,
    check_texts_chosen,
    check_tokenizer_files,
    check_training,
    model_folder,
    task_of,
)
from pipeline.training.recipes import RECIPES, recipes, train_config, train_preset
from pipeline.training.reporting import check_trackers

# Options of a training that reads no picture texts.
NO_KNOWLEDGE: Mapping[str, Any] = {
    "knowledge": False,
    "knowledge_from": (),
    "shuffle_knowledge": False,
}


class SystemName(luigi.Parameter):
    """The name of a system. Names are looked up at use: the user's folder may be set by then."""

    @property
    def _choices(self) -> list[str]:
        return systems.names()

    def normalize(self, x: str) -> str:
        if x not in self._choices:
            raise SettingError(f"--system: expected one of {', '.join(self._choices)}, found {x!r}")
        return x


class RunsModel(ReadsPyramids, OfTexts):
    """A stage that runs a model. It checks the posts before pictures are read."""

    _checked = False

    def with_texts(self) -> bool:
        """Return True if the model reads the pictures' texts."""
        raise NotImplementedError

    def saved_models(self) -> list[Path]:
        """Return the folders of the saved models that the stage runs."""
        return []

    def describers(self) -> set[str | None]:
        """Return the usual describers of the models that read texts; None: no particular one."""
        made = [read_json(model / "config.json").get("texts") for model in self.saved_models()]
        names = {texts.get("describer") for texts in made if texts}
        return {None if name == FILE else name for name in names}  # other data have other files

    @property
    def usual_describer(self) -> str | None:
        """The models' own describer, if they have one in common."""
        describers = self.describers()
        return describers.pop() if len(describers) == 1 else None

    def requires(self) -> list[Stage]:
        if not self.with_texts():
            return super().requires()
        for model in self.saved_models():
            check_texts_chosen(model, self.texts_are_chosen)
        return [*super().requires(), self.description]

    def texts(self) -> Path | None:
        """Return the folder of the pictures' texts; None if the model reads none."""
        return self.description.folder if self.with_texts() else None

    def weights(self) -> dict[str, tuple[Stage, str]]:
        if not self.with_texts():
            return super().weights()
        describer: dict[str, tuple[Stage, str]] = {"describer": (self.description, "weights")}
        if self.description.config.describer == OBJECTS:
            describer |= self.grounder_weights(GroundCrops(dataset=self.dataset))
        return {**describer, **super().weights()}

    def check_posts(self, posts: Sequence[Post]) -> None:
        """Raise DataError if the stage cannot do its task on these posts."""
        raise NotImplementedError

    def deps(self) -> Any:
        """Return the required stages. Raises DataError first if the posts do not suit the task."""
        if not self._checked and (self.saved_models() or self.with_pictures()):
            with self._errors_logged():
                posts = self._posts()
                if posts is not None:
                    self.check_posts(posts)
            self._checked = True
        return super().deps()

    def _posts(self) -> Sequence[Post] | None:
        """Return the data set's posts; None if ReadPosts will report what is wrong with them."""
        from pipeline.corpus.posts import load_posts

        reading, layout = ReadPosts(dataset=self.dataset), self.layout_if_any()
        with suppress(DataError, OSError):
            if reading.complete():
                return load_posts(reading.folder)
            if layout is not None:  # None: the demo, which has all labels
                return corpus.read(layout, reading.config).posts
        return None


class _Training(RunsModel):
    """The options of a training run, and of a summary of several runs."""

    TASK: str
    VERSION = 3
    ADDED: ClassVar[Mapping[str, Any]] = {
        name: getattr(TrainConfig, name)
        for name in (
            *("relation_head", "start_from", "system", "form", "word_vectors"),
            *("optimizer", "momentum", "rate_schedule"),
            *("train_share", "train_seed", "with_replacement"),
            *("knowledge", "knowledge_tokens", "shuffle_knowledge"),
        )
    }
    RESULT = True

    system = SystemName(
        default=TrainConfig.system,
        description=f"one of Table 1's systems, or of your own in the folder {systems.OWN}",
    )
    form = luigi.OptionalStrParameter(
        default=None, description="form of a system that has several, such as pcnn"
    )
    recipe = luigi.ChoiceParameter(
        choices=RECIPES, default=PAPER, description="source of the values that are not given"
    )
    variant = luigi.OptionalChoiceParameter(choices=VARIANTS, default=None)
    style = luigi.OptionalChoiceParameter(choices=STYLES, default=None)
    encoder = luigi.OptionalStrParameter(default=None, description="hub name, folder, or scratch")
    word_vectors = luigi.OptionalStrParameter(
        default=None,
        description="text file of word vectors in GloVe's form, for systems on words; none: random",
    )
    start_from = luigi.OptionalStrParameter(
        default=None,
        description="output of TrainRE, TrainNER or ImportReleased: take its tokenizer and all "
        "weights but the head's",
    )
    knowledge = luigi.BoolParameter(
        description="read the text of each picture, by DescribePictures, behind the sentence"
    )
    knowledge_tokens = luigi.IntParameter(
        default=TrainConfig.knowledge_tokens,
        description="most word pieces of a picture's text, beside --max-tokens",
    )
    shuffle_knowledge = luigi.BoolParameter(
        description="give each post the text of another post's picture: a control"
    )
    seed = luigi.OptionalIntParameter(default=None)
    seeds = Numbers(
        default=(), description="several seeds, such as 1,49,1234: a run each, mean and deviation"
    )
    epochs = luigi.OptionalIntParameter(default=None)
    train_share = luigi.FloatParameter(
        default=TrainConfig.train_share, description="share of the training posts to train on"
    )
    train_seed = luigi.OptionalIntParameter(
        default=None, description="seed of the draw of this share; default: the run's"
    )
    with_replacement = luigi.BoolParameter(
        description="draw with replacement, as the published script: some posts count several times"
    )
    batch_size = luigi.OptionalIntParameter(default=None)
    learning_rate = luigi.OptionalFloatParameter(default=None)
    head_learning_rate = luigi.OptionalFloatParameter(default=None)
    weight_decay = luigi.OptionalFloatParameter(default=None)
    decay_all = luigi.OptionalBoolParameter(
        default=None, description="apply weight decay to biases and normalisation too"
    )
    optimizer = luigi.OptionalChoiceParameter(choices=OPTIMIZERS, default=None)
    momentum = luigi.OptionalFloatParameter(
        default=None, description="momentum of the optimizer sgd"
    )
    rate_schedule = luigi.OptionalChoiceParameter(
        choices=SCHEDULES, default=None, description="how rates fall after the warm-up"
    )
    warmup = luigi.OptionalFloatParameter(
        default=None, description="length of the warm-up: a share of all steps, or their number"
    )
    evaluate_from = luigi.OptionalIntParameter(
        default=None, description="first epoch scored on val"
    )
    max_tokens = luigi.OptionalIntParameter(default=None, description="most word pieces per post")
    dropout = luigi.OptionalFloatParameter(default=None, description="dropout before the head")
    max_grad_norm = luigi.OptionalFloatParameter(default=None)
    precision = luigi.OptionalChoiceParameter(choices=PRECISIONS, default=None)
    finetune_backbone = luigi.BoolParameter(description="recompute pyramids, with gradients")
    backbone_learning_rate = luigi.OptionalFloatParameter(default=None)
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)
    report_to = Names(
        default=(),
        significant=False,
        description="trackers beside TensorBoard that transformers knows, such as wandb,mlflow",
    )
    max_unknown = luigi.FloatParameter(
        default=MOST_UNKNOWN,
        significant=False,
        description="largest share of the training posts' words that the tokenizer may not know",
    )

    @cached_property
    def config(self) -> TrainConfig:
        """The recipe's settings, with the values given."""
        check("--max-unknown", "a share from 0 to 1", self.max_unknown, 0 <= self.max_unknown <= 1)
        check_trackers(self.report_to)
        reads_texts = self.knowledge or systems.declared(self.system).reads_texts
        for name, value in (
            ("--knowledge-from", self.knowledge_from),
            ("--shuffle-knowledge", self.shuffle_knowledge),
        ):
            check(name, "--knowledge beside it", value, reads_texts or not value)
        precision = self.precision or precision_at_hand(self)
        return train_config(self.TASK, self.dataset, {**self.param_kwargs, "precision": precision})

    def describers(self) -> set[str | None]:
        return {OBJECTS} if systems.declared(self.system).reads_texts else {None}

    def text_only(self, **options: Any) -> Any:
        """Return HVPNeT's text-only training with the same options, as far as it reads them.

        options: those to change.
        """
        unread: dict[str, Any] = {"form": None, "word_vectors": None}
        if self.optimizer != SGD:  # momentum is then of the optimizer in the system's recipe
            unread["momentum"] = None
        return self.clone(system=HVPNET, variant=TEXT_ONLY, **unread, **options)

    def with_pictures(self) -> bool:
        return self.config.variant != TEXT_ONLY

    @property
    def kind(self) -> str:
        """The run's variant, or its system if that is not HVPNeT."""
        config = self.config
        return config.variant if config.system == HVPNET else config.system

    def with_texts(self) -> bool:
        return self.config.knowledge

    def check_posts(self, posts: Sequence[Post]) -> None:
        check_training(self.TASK, posts)
        sources = self.sources()
        if "encoder" in sources and sources["encoder"].is_dir():
            check_tokenizer_files(sources["encoder"], BESIDE)
        if "start_from" in sources:
            check_start(sources["start_from"], asdict(self.config))

    def lines(self) -> list[str]:
        from pipeline.training.results import result

        reads_texts = systems.declared(self.system).reads_texts
        others: dict[str, Path] = {}
        if self.config.system == HVPNET:
            others["add --variant text-only"] = self.clone(variant=TEXT_ONLY).folder
        else:
            plain = self.text_only(**(NO_KNOWLEDGE if reads_texts else {}))
            others[f"leave out --system {self.system} and add --variant text-only"] = plain.folder
        if not reads_texts:
            others["leave out --knowledge"] = self.clone(**NO_KNOWLEDGE).folder
        made = {name: damage(run, self.paths.digests) is None for name, run in others.items()}
        return result(self.folder, {name: (run, made[name]) for name, run in others.items()})


class _Train(_Training):
    """One training run: train, choose the epoch, score on test."""

    RESUMES = True

    def __new__(cls, *args: Any, **values: Any) -> "_Train | _Summary":
        """With `--seeds`, make the summary of a run for each seed instead of a run."""
        given = dict(cls.get_param_values(cls.get_params(), args, values))
        return cls.summary()(**given) if given["seeds"] else super().__new__(cls)

    @classmethod
    def summary(cls) -> "type[_Summary]":
        """Return the class of this stage's summaries."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        paths = {"encoder": SCRATCH, "start_from": None, "word_vectors": None}
        settings = asdict(self.config)
        for name, word in paths.items():
            settings = without_path(settings, name, word)
        if systems.declared(self.config.system).parses:
            settings["parser"] = noun_phrases.parser_version(SPACY)
        return settings

    def sources(self) -> dict[str, Path]:
        start = self.config.start_from
        folders = {} if start is None else {"start_from": model_folder("--start-from", start)}
        file = systems.file_of(self.config.system)
        files = {} if file is None else {"system": file}
        if (vectors := self.config.word_vectors) is not None:
            files["word_vectors"] = existing("--word-vectors", vectors)
        return on_disk("encoder", self.config.encoder, SCRATCH) | folders | files

    @property
    def name(self) -> str:
        return f"{super().name} seed {self.config.seed}"

    @property
    def title(self) -> str:
        return f"{self.STAGE} ({self.kind}, seed {self.config.seed})"

    def work(self, folder: Path) -> None:
        from pipeline.training.train import train_into

        train_into(
            folder,
            task=self.TASK,
            posts_folder=ReadPosts(dataset=self.dataset).folder,
            config=self.config,
            files=self.pictures(),
            device=self.device,
            about={"task": self.TASK, **self.about()},
            max_unknown=self.max_unknown,
            report_to=self.report_to,
            texts=self.texts(),
        )


class _Summary(_Training):
    """Mean and deviation of runs that differ only in their seed."""

    RUN: type[_Train]

    @property
    def title(self) -> str:
        return f"{self.STAGE} ({self.kind}, mean of {len(self.seeds)} seeds)"

    def requires(self) -> list[Stage]:
        precision = self.config.precision  # the same for all runs, whatever outputs exist
        return [
            self.clone(self.RUN, seed=seed, seeds=(), precision=precision) for seed in self.seeds
        ]

    def settings(self) -> dict[str, Any]:
        return {"seeds": sorted(self.seeds)}  # all other settings are in the runs' keys

    def work(self, folder: Path) -> None:
        from pipeline.training.results import summarise

        summarise([run.folder for run in self.requires()], folder, self.about())


class _OfRelations(_Training):
    """The options that only relations have."""

    TASK = "re"

    relation_head = luigi.ChoiceParameter(
        choices=RELATION_HEADS,
        default=TrainConfig.relation_head,
        description="states that are classified: of the entities' markers, or of [CLS]",
    )


class TrainRE(_OfRelations, _Train):
    """Relations between two marked entities: train, choose the epoch, score on test."""

    @classmethod
    def summary(cls) -> type[_Summary]:
        return _SummaryRE


class TrainNER(_Train):
    """Entities, with a CRF: train, choose the epoch, score on test."""

    TASK = "ner"
    dataset = luigi.Parameter(
        default="twitter2015", description="twitter2015, twitter2017, demo, or a folder of your own"
    )

    @classmethod
    def summary(cls) -> type[_Summary]:
        return _SummaryNER


class _SummaryRE(_OfRelations, _Summary):
    STAGE, RUN = "TrainRE", TrainRE


class _SummaryNER(_Summary):
    TASK, STAGE, RUN = "ner", "TrainNER", TrainNER


class ImportReleased(OfDataset):
    """A published checkpoint -> a model folder of this project, and its backbone's weights."""

    RESULT = True

    checkpoint = luigi.Parameter(
        description="a published best_model.pth of HVPNeT, pytorch_model.bin of UMT, model.pt of "
        "UMGF, or .pth.tar of MEGA"
    )
    tokenizer = luigi.Parameter(
        default=TrainConfig.encoder, description="hub name or folder of the checkpoint's encoder"
    )

    def requires(self) -> list[Stage]:
        return [ReadPosts(dataset=self.dataset)]

    def settings(self) -> dict[str, Any]:
        return without_path({"tokenizer": self.tokenizer}, "tokenizer")

    def sources(self) -> dict[str, Path]:
        checkpoint = {"checkpoint": existing("--checkpoint", self.checkpoint)}
        return checkpoint | on_disk("tokenizer", self.tokenizer)

    def work(self, folder: Path) -> None:
        from pipeline.training.import_released import import_into

        need_space(folder, 2 * size_of(Path(self.checkpoint)), self.STAGE)
        import_into(
            folder,
            Path(self.checkpoint),
            self.tokenizer,
            posts_folder=ReadPosts(dataset=self.dataset).folder,
            longest=train_preset("ner", self.dataset, RELEASED).max_tokens,
        )

    def lines(self) -> list[str]:
        made = [self.folder / name for name in ("model", BACKBONE)]
        return [str(near(path)) for path in made if path.exists()]  # text-only: no backbone


class OfModel(RunsModel):
    """A stage that runs a saved model on a data set."""

    RESULT = True

    model = luigi.Parameter(description="output of TrainRE, TrainNER or ImportReleased")
    device = luigi.ChoiceParameter(choices=DEVICES, default="auto", significant=False)

    def model_folder(self) -> Path:
        """Return the model folder; --model may also name the folder of the run that made it."""
        return model_folder("--model", self.model)

    def saved_models(self) -> list[Path]:
        return [self.model_folder()]

    def with_pictures(self) -> bool:
        from pipeline.training.results import needs_pictures

        return needs_pictures(self.model_folder())

    def with_texts(self) -> bool:
        from pipeline.training.results import needs_texts

        return needs_texts(self.model_folder())

    def check_posts(self, posts: Sequence[Post]) -> None:
        model = self.model_folder()
        check_evaluation(task_of(model), posts, model)
        check_labels(task_of(model), posts, model)
        check_tokenizer_files(model, "make the model again")

    def sources(self) -> dict[str, Path]:
        return {"model": self.model_folder()}


class Evaluate(OfModel):
    """A saved model evaluated on a data set: predictions and scores of val and test."""

    VERSION = 2

    precision = luigi.ChoiceParameter(choices=PRECISIONS, default=TrainConfig.precision)

    def settings(self) -> dict[str, Any]:
        return {"precision": self.precision}

    def work(self, folder: Path) -> None:
        from pipeline.training.evaluate import evaluate_into

        evaluate_into(
            folder,
            self.model_folder(),
            posts_folder=ReadPosts(dataset=self.dataset).folder,
            files=self.pictures(),
            device=self.device,
            precision=self.precision,
            about=self.about(),
            texts=self.texts(),
        )

    def lines(self) -> list[str]:
        from pipeline.training.results import evaluation

        return evaluation(self.folder)


class Recipes(Listing):
    """The settings of the recipes for both tasks on a data set."""

    dataset = luigi.Parameter(default="mnre")
    system = SystemName(default=TrainConfig.system)
    variant = luigi.OptionalChoiceParameter(choices=VARIANTS, default=None)

    def lines(self) -> list[str]:
        return recipes(self.dataset, self.system, self.variant)


class Scores(Listing):
    """A table of all training runs in the store."""

    dataset = luigi.OptionalStrParameter(default=None, description="only runs on this data set")

    def lines(self) -> list[str]:
        from pipeline.training.results import scores

        return scores(paths().store_root, [TrainRE.STAGE, TrainNER.STAGE], self.dataset)
