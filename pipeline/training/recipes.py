"""Recipes: the training settings of the paper's experiments and of the published scripts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from model.hvpnet.variants import AT_MARKERS, FLAT, HVPNET, ONE_TO_THREE, PAPER, RELEASED, TEXT_ONLY
from model.systems import BERT_CRF, declared, names, variants_of
from pipeline.corpus import DEMO
from pipeline.engine.settings import changed
from pipeline.errors import SettingError
from pipeline.machine import AUTO, well_done
from pipeline.training.config import (
    ADAM,
    BERT_ADAM,
    INVERSE,
    LEAST_TEXT,
    NONE,
    SCRATCH,
    SGD,
    STEP,
    UNCORRECTED,
    TrainConfig,
)

LOW_RESOURCE, CROSS_TASK = "low-resource", "cross-task"
COMMON = "common"  # Appendix B.1 for every system
# Appendix B.1 of the paper, or another system's published settings; the published scripts;
# Appendices B.2 and B.3 of the paper; Appendix B.1 for every system.
RECIPES = (PAPER, RELEASED, LOW_RESOURCE, CROSS_TASK, COMMON)
_HEAD_RATE = 5e-2  # of the CRF: from the published code; the paper gives none
_LOW_RESOURCE: Mapping[str, Any] = {
    "epochs": 30,
    "batch_size": 8,
    "learning_rate": 3e-5,  # the paper: 3e-5 to 5e-5
    "evaluate_from": 16,
}
_CROSS_TASK: Mapping[str, Any] = {
    "epochs": 12,
    "batch_size": 8,
    "learning_rate": 3e-5,  # the paper: 1e-5 to 3e-5
    "evaluate_from": 8,
}
# Settings that differ from TrainConfig's defaults. The paper states no maximum length, seed,
# clipping or dropout before the CRF: all recipes use the published code's values. In the paper's,
# dropout before the relation classifier is our choice.
_RECIPES: dict[str, Mapping[str, Mapping[str, Any]]] = {
    PAPER: {
        "re": {},
        "ner": {
            "epochs": 30,
            "batch_size": 8,
            "learning_rate": 3e-5,  # the paper: 1e-5 to 3e-5
            "head_learning_rate": _HEAD_RATE,
            "evaluate_from": 16,
        },
    },
    RELEASED: {
        "re": {
            "epochs": 15,
            "batch_size": 16,
            "learning_rate": 3e-5,
            "decay_all": True,
            "warmup": 0.06,
            "evaluate_from": 1,
            "dropout": 0.0,  # the published code has a dropout layer but never applies it
        },
        "ner": {
            "epochs": 30,
            "batch_size": 8,
            "learning_rate": 3e-5,
            "head_learning_rate": _HEAD_RATE,
            "decay_all": True,
            "warmup": 0.01,
            "evaluate_from": 3,
        },
    },
    LOW_RESOURCE: {
        "re": _LOW_RESOURCE,
        "ner": {**_LOW_RESOURCE, "head_learning_rate": _HEAD_RATE},
    },
    CROSS_TASK: {
        "re": _CROSS_TASK,
        "ner": {**_CROSS_TASK, "head_learning_rate": _HEAD_RATE},
    },
}
_RECIPES[COMMON] = _RECIPES[PAPER]
# The published rate after the warm-up is peak · (1 - step / all steps), so it jumps there from the
# peak to 0.9 of it. Ours falls from the peak to 0 over the steps that remain.
_UMT: Mapping[str, Any] = {
    "batch_size": 32,
    "learning_rate": 5e-5,
    "optimizer": BERT_ADAM,
    "evaluate_from": 1,
    "max_tokens": 128,
}
_VISUALBERT: Mapping[str, Any] = {  # a published tagger's (RiTUAL)
    "batch_size": 32,
    "learning_rate": 5e-5,
    "warmup": 0.0,
    "evaluate_from": 1,
    "max_tokens": 128,
    "max_grad_norm": 1.0,
}
_UMGF: Mapping[str, Any] = {
    "epochs": 30,
    "batch_size": 16,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "rate_schedule": STEP,
    "optimizer": ADAM,
    "evaluate_from": 1,
    "max_tokens": 128,
}
_WORD_TAGGER: Mapping[str, Any] = {
    "optimizer": SGD,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "evaluate_from": 1,
    "max_tokens": 128,
    "dropout": 0.5,
    "max_grad_norm": 5.0,
}
_OPENNRE: Mapping[str, Any] = {  # OpenNRE's, with MNRE's batch and epochs
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": 2e-5,
    "warmup": 300.0,
    "optimizer": UNCORRECTED,
    "evaluate_from": 1,
    "max_tokens": 128,
    "dropout": 0.5,
}
# Settings of other systems, as published: what differs from TrainConfig's defaults.
_SYSTEMS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mtb": {"re": _OPENNRE},
    "bert-sg": {"re": _OPENNRE},  # MEGA's, whose baseline it is
    "mega": {"re": _OPENNRE, "ner": _OPENNRE},  # for entities ours: none is published
    "umt": {
        "ner": {**_UMT, "epochs": 24},
        "re": {**_UMT, "epochs": 12},  # ours: none is published; batch and epochs as HVPNeT's
    },
    "adapcoatt": {"ner": {**_UMT, "epochs": 24}},  # its BERT form is of UMT's table
    "visualbert": {
        "ner": {**_VISUALBERT, "epochs": 20},
        "re": {**_VISUALBERT, "epochs": 12},  # ours: none is published; epochs as HVPNeT's
    },
    "umgf": {
        # The published classifier has no dropout before it.
        "ner": {**_UMGF, "learning_rate": 1e-4, "dropout": 0.0},
        # Ours: none is published. The graph has the head's rate.
        "re": {**_UMGF, "learning_rate": 3e-5, "head_learning_rate": 1e-4},
    },
    "cnn-bilstm-crf": {
        "ner": {  # Ma & Hovy's; the number of epochs is ours
            **_WORD_TAGGER,
            "epochs": 50,
            "batch_size": 10,
            "learning_rate": 0.015,
            "momentum": 0.9,
            "rate_schedule": INVERSE,
        },
    },
    "ocsga": {
        "ner": {  # the code's sum over ten posts is ten times our mean, so the rate is too
            **_WORD_TAGGER,
            "epochs": 200,
            "batch_size": 10,
            "learning_rate": 0.05,
            "weight_decay": 1e-8,
            "decay_all": True,
            "rate_schedule": INVERSE,
            "max_grad_norm": 0.0,
        },
    },
    "hbilstm-crf": {
        "ner": {  # Lample et al.'s; the number of epochs is that of their code
            **_WORD_TAGGER,
            "epochs": 100,
            "batch_size": 1,
            "learning_rate": 0.01,
            "rate_schedule": NONE,
        },
    },
    "pcnn": {
        "re": {  # OpenNRE's
            "epochs": 100,
            "batch_size": 160,
            "learning_rate": 0.1,
            "weight_decay": 1e-5,
            "decay_all": True,
            "warmup": 300.0,
            "optimizer": SGD,
            "evaluate_from": 1,
            "max_tokens": 128,
            "dropout": 0.5,
        },
    },
}
# Systems with other epochs on a data set.
_EPOCHS: Mapping[tuple[str, str], int] = {
    ("umt", "twitter2017"): 22,
    ("adapcoatt", "twitter2017"): 22,
}
# The published scripts use other parameter groups for text-only training.
_RELEASED_TEXT_ONLY: Mapping[str, Mapping[str, Any]] = {
    "re": {"decay_all": False},
    "ner": {"head_learning_rate": None},
}
ELSEWHERE = (  # settings that are in no recipe
    *("system", "form", "variant", "style", "start_from", "word_vectors"),
    *("train_share", "train_seed", "with_replacement"),
    *("knowledge", "knowledge_tokens", "shuffle_knowledge"),
)
_DEMO: Mapping[str, Any] = {
    "encoder": SCRATCH,
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "head_learning_rate": None,
    "evaluate_from": 1,
    "max_grad_norm": 1.0,
}


def train_preset(
    task: str, dataset: str, recipe: str = PAPER, variant: str = HVPNET, system: str = HVPNET
) -> TrainConfig:
    """Return a recipe's default settings for a task ("re" or "ner") on a data set.

    The recipe "paper" of another system than HVPNeT has that system's published settings, except on
    the demo, which has its own encoder, epochs and rates in every recipe.
    """
    settings = _RECIPES[recipe][task]
    if recipe == PAPER and dataset != DEMO:
        settings = _SYSTEMS.get(system, {}).get(task, settings)
        if (system, dataset) in _EPOCHS:
            settings = {**settings, "epochs": _EPOCHS[system, dataset]}
    config = replace(TrainConfig(system=system, variant=variant), **settings)
    if recipe == RELEASED and variant == TEXT_ONLY:
        config = replace(config, **_RELEASED_TEXT_ONLY[task])
    if dataset == "twitter2017":
        config = replace(config, max_tokens=128)
    if dataset == DEMO:
        config = replace(config, **_DEMO)
    return config


def train_config(task: str, dataset: str, values: Mapping[str, Any]) -> TrainConfig:
    """Return a recipe's settings for a data set, with the values given.

    Settings that have no effect are set to fixed values, so that they don't change the key.

    values: by the names of TrainConfig, and `recipe`; they override the recipe.

    Raises SettingError for settings that contradict each other.
    """
    system, variant = chosen_system(task, values.get("system") or HVPNET, values.get("variant"))
    preset = train_preset(task, dataset, values.get("recipe", PAPER), variant, system)
    form = chosen_form(system, values.get("form"))
    config = changed(preset, {**values, "system": system, "variant": variant, "form": form})
    for option, value in (("--style", config.style), ("--recipe", values.get("recipe"))):
        if value == RELEASED and system != HVPNET:
            raise SettingError(
                f"{option} {RELEASED}: expected --system {HVPNET}, whose published code it "
                f"follows, found {system}"
            )
    if config.style == RELEASED and variant in (FLAT, ONE_TO_THREE):
        raise SettingError(
            f"--variant {variant}: expected --style {PAPER}, whose blocks it selects, found "
            f"{RELEASED}, which mixes all blocks"
        )
    if declared(system).reads_texts:
        config = replace(config, knowledge=True)
    config = _of_words(config, values) if declared(system).reads_words else config
    if config.word_vectors is not None and not declared(system).reads_words:
        raise SettingError(
            f"--word-vectors: expected a --system that reads words, such as "
            f"{' or '.join(name for name in names() if declared(name).reads_words)}, found {system}"
        )
    if config.start_from is not None:
        if values.get("encoder") is not None:
            raise SettingError(
                "--encoder: expected none with --start-from, which takes the encoder of its run, "
                f"found {config.encoder}; leave one of them out"
            )
        config = replace(config, encoder=None)
    if config.optimizer != SGD:
        if values.get("momentum"):
            raise SettingError(
                f"--momentum: expected --optimizer {SGD} beside it, found {config.optimizer}"
            )
        config = replace(config, momentum=0.0)
    if variant == TEXT_ONLY:
        config = replace(config, finetune_backbone=False)
    if not config.knowledge:
        tokens = TrainConfig.knowledge_tokens
        config = replace(config, knowledge_tokens=tokens, shuffle_knowledge=False)
    if not config.finetune_backbone:
        config = replace(config, backbone_learning_rate=0.0)
    if config.train_seed == config.seed or not config.draws:
        config = replace(config, train_seed=None)
    if config.head_learning_rate == config.learning_rate:
        config = replace(config, head_learning_rate=None)
    return replace(
        config,
        evaluate_from=min(config.evaluate_from, config.epochs),
        decay_all=config.decay_all and config.weight_decay != 0,
    )


def _of_words(config: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of a system on words, which has no encoder.

    Raises SettingError for what needs word pieces or an encoder.
    """
    reads_texts = declared(config.system).reads_texts
    for name in ("encoder", "start_from", *(() if reads_texts else ("knowledge",))):
        if values.get(name):
            raise SettingError(
                f"--{name.replace('_', '-')}: expected none with --system {config.system}, which "
                f"reads words instead of word pieces, found {values[name]}"
            )
    if config.relation_head != AT_MARKERS:
        raise SettingError(
            f"--relation-head: expected {AT_MARKERS} with --system {config.system}, which has no "
            f"[CLS], found {config.relation_head}"
        )
    return replace(config, encoder=None, knowledge_tokens=LEAST_TEXT)


def chosen_system(task: str, system: str, variant: str | None) -> tuple[str, str]:
    """Return system and variant as models know them. variant: None for the usual one.

    Raises SettingError for a system that is not made for the task, or lacks the variant.
    """
    tasks, variants = declared(system).tasks, variants_of(system)
    if task not in tasks:
        trained = " and ".join({"re": "TrainRE", "ner": "TrainNER"}[name] for name in tasks)
        raise SettingError(f"--system {system}: expected {trained}, which it is made for")
    if variant is not None and variant not in variants:
        raise SettingError(
            f"--variant: expected {' or '.join(variants)} with --system {system}, found {variant}"
        )
    return HVPNET if system == BERT_CRF else system, variant or variants[0]


def chosen_form(system: str, form: str | None) -> str:
    """Return a system's form. form: None for the usual one.

    Raises SettingError for a form that the system lacks.
    """
    forms = declared(system).forms
    if form and form not in forms:
        raise SettingError(
            f"--form: expected {' or '.join(forms) or 'none'} with --system {system}, found {form}"
        )
    return form or next(iter(forms), "")


def recipes(dataset: str, system: str = HVPNET, variant: str | None = None) -> list[str]:
    """Return a table of each task's settings in all recipes, and how to change them.

    Arguments as for `chosen_system`. Raises SettingError as it does.
    """
    tasks = declared(system).tasks
    whose = "" if system == HVPNET else f", system {system}"
    system, variant = chosen_system(tasks[0], system, variant)
    # HVPNeT's common recipe is the paper's; the released one is of HVPNeT's own scripts.
    shown = [name for name in RECIPES if name != (COMMON if system == HVPNET else RELEASED)]
    lines = [
        f"{dataset}{whose}, variant {variant}; choose with --recipe, change a value by its option"
    ]
    for task, name in (("re", "TrainRE"), ("ner", "TrainNER")):
        if task in tasks:
            lines += ["", _row(name, shown), *_values(task, dataset, variant, system, shown)]
    return lines


def _values(task: str, dataset: str, variant: str, system: str, shown: Sequence[str]) -> list[str]:
    """Return a line for each setting of a task, with its value in each recipe of `shown`."""
    presets = [train_preset(task, dataset, recipe, variant, system) for recipe in shown]
    columns = [asdict(replace(preset, precision=well_done(AUTO))) for preset in presets]
    names = [name for name in columns[0] if name not in ELSEWHERE and has_option(task, name)]
    return [
        _row(f"--{name.replace('_', '-')}", [_shown(column[name]) for column in columns])
        for name in names
    ]


def _row(name: str, cells: Sequence[str]) -> str:
    return (f"{name:26}" + "".join(f"{cell:18}" for cell in cells)).rstrip()


def has_option(task: str, name: str) -> bool:
    """Return True if a setting can be changed for a task ("re" or "ner")."""
    return task == "re" or name != "relation_head"


def _shown(value: Any) -> str:
    return "as the rest" if value is None else str(value)
