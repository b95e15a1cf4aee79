"""transformers' Trainer with our parameter groups, batches, and one line an epoch."""

import logging
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.utils.data import Sampler
from torch.utils.tensorboard import SummaryWriter
from transformers import Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback

from model.encoder import PrefixedEncoder
from model.errors import ModelError
from pipeline.engine.digests import of_file
from pipeline.engine.files import read_json, settle, write_json
from pipeline.machine import pick_device
from pipeline.training.batches import BucketSampler, Collator
from pipeline.training.config import TrainConfig
from pipeline.training.encode import Encoded
from pipeline.training.finetune import FineTuned

EVAL_BATCH = 64
CHECKPOINTS = "checkpoints"  # folder of a run that has not ended
SEAL = "digests.json"  # of a whole checkpoint's files
RANK = "rank"  # the figure of an epoch by which the best is chosen
log = logging.getLogger(__name__)


def optimizer_groups(
    model: PrefixedEncoder | FineTuned, config: TrainConfig
) -> list[dict[str, Any]]:
    """AdamW's groups: three rates; biases and normalisation do not decay (Appendix B.1).

    With `decay_all` everything decays, as in the published scripts. Raises ModelError for a
    parameter that is in no group of the model's: it would train at a rate that nobody chose.
    """
    head = config.head_learning_rate
    rates = {
        "base": config.learning_rate,
        "head": config.learning_rate if head is None else head,
        "backbone": config.backbone_learning_rate,
    }
    declared = {
        id(parameter): group
        for group in model.parameter_groups()
        for module in group.modules
        for parameter in module.parameters()
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) not in declared:
            raise ModelError(
                f"{type(model).__name__}: expected each parameter in one of parameter_groups(), "
                f"found {name} in none; name its module there, with the rate it trains at"
            )
        group = declared[id(parameter)]
        decays = config.decay_all or parameter.ndim > 1 or group.vectors_decay
        decay = config.weight_decay if decays else 0.0
        groups.setdefault((rates[group.rate], decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint of a killed run, if any; those that aren't whole are removed."""
    found = sorted((folder / CHECKPOINTS).glob("checkpoint-*"))
    states = {checkpoint.name: state for checkpoint in found if (state := _state(checkpoint))}
    good: dict[str, int] = {}
    for checkpoint in found:
        best = states.get(checkpoint.name, {}).get("best_model_checkpoint")
        # Without the best so far, a run that goes on would end with another model.
        if checkpoint.name in states and (best is None or Path(best).name in states):
            good[str(checkpoint)] = states[checkpoint.name]["global_step"]
        else:
            log.warning("%s is not whole: it is made again", checkpoint.name)
            shutil.rmtree(checkpoint)
    return max(good, key=good.__getitem__, default=None)


def _state(checkpoint: Path) -> dict[str, Any] | None:
    """The state of a checkpoint of which each file has the digest that `_Seal` wrote down.

    A run killed before it sealed a checkpoint may have written it: the state comes last.
    """
    try:
        state: dict[str, Any] = read_json(checkpoint / "trainer_state.json")
        if not (checkpoint / SEAL).exists():
            return state if _ends_well(checkpoint) else None
        digests = read_json(checkpoint / SEAL)
        good = all(of_file(checkpoint / name) == digest for name, digest in digests.items())
    except PermissionError:  # another member's: it may be whole
        raise
    except (OSError, ValueError):
        return None
    return state if good else None


def _ends_well(checkpoint: Path) -> bool:
    """Whether no file was cut short, as by a power cut: both forms of file tell their end."""
    try:
        with safe_open(checkpoint / "model.safetensors", "pt"):
            pass
    except (OSError, SafetensorError):
        return False
    saved = [file for file in checkpoint.iterdir() if file.suffix in (".pt", ".pth", ".bin")]
    return all(map(zipfile.is_zipfile, saved))


class _Seal(TrainerCallback):
    """Digests of a checkpoint's files, written when all are there; then older ones may go."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """A run that goes on may lie elsewhere than where it began."""
        if state.best_model_checkpoint is not None:
            best = Path(args.output_dir) / Path(state.best_model_checkpoint).name
            state.best_model_checkpoint = str(best)

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        last = f"checkpoint-{state.global_step}"
        checkpoint = Path(args.output_dir) / last
        files = sorted(checkpoint.iterdir())
        settle(checkpoint)
        write_json(checkpoint / SEAL, {path.name: of_file(path) for path in files})
        kept = {last, Path(state.best_model_checkpoint or last).name}
        for other in Path(args.output_dir).glob("checkpoint-*"):
            if other.name not in kept:
                shutil.rmtree(other)


class _Trainer(Trainer):
    """The Trainer with our parameter groups and batches of similar length."""

    def __init__(self, config: TrainConfig, **options: Any) -> None:
        self.run_config = config
        super().__init__(**options)

    optimizer: torch.optim.Optimizer | None

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            declared: Any = model or self.model
            groups = optimizer_groups(declared, self.run_config)
            self.optimizer = torch.optim.AdamW(groups, lr=self.run_config.learning_rate, fused=True)
        return self.optimizer

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """What clipping found, if it was asked for: for the log alone it costs 5 % of a step."""
        return grad_norm

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        lengths = [len(post.input_ids) for post in self.train_dataset]
        return BucketSampler(lengths, self.run_config.batch_size, self.run_config.seed)


class _Bars(ProgressCallback):
    """The Trainer's bars, without its dictionaries between them."""

    def on_log(self, *_: Any, **__: Any) -> None:
        """The log goes to TensorBoard."""


class _EpochLines(TrainerCallback):
    """One readable line for each epoch that is scored."""

    def on_evaluate(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        figures = others["metrics"]
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        log.info(
            "epoch %d/%d  loss %.4f  val P %.2f R %.2f F1 %.2f",
            round(state.epoch),
            args.num_train_epochs,
            losses[-1],
            figures["eval_precision"],
            figures["eval_recall"],
            figures["eval_f1"],
        )


def _arguments(folder: Path, device: str, precision: str, **training: Any) -> TrainingArguments:
    """What training and evaluation have in common."""
    arguments = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        per_device_eval_batch_size=EVAL_BATCH,
        bf16=precision == "bfloat16",
        report_to=[],
        label_names=["labels"],
        remove_unused_columns=False,
        use_cpu=pick_device(device) == "cpu",
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=pick_device(device) != "cpu",
        **training,
    )
    # Several GPUs need several processes; one process must not spread its batch over them, which
    # would multiply it.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def make_evaluator(
    model: nn.Module, collator: Collator, folder: Path, device: str, precision: str
) -> Trainer:
    """A Trainer that only predicts."""
    arguments = _arguments(folder, device, precision)
    trainer = Trainer(model=model, args=arguments, data_collator=collator)
    trainer.remove_callback(PrinterCallback)
    return trainer


def make_trainer(
    model: nn.Module,
    encoded: Mapping[str, list[Encoded]],
    collator: Collator,
    config: TrainConfig,
    folder: Path,
    device: str,
) -> Trainer:
    """A Trainer of `model` on encoded posts: best epoch by RANK on val, a checkpoint an epoch."""
    arguments = _arguments(
        folder,
        device,
        config.precision,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup,  # below 1: a share of all steps
        lr_scheduler_type="linear",
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        eval_strategy="epoch",
        eval_delay=min(config.evaluate_from, config.epochs),
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model=RANK,
        greater_is_better=True,
        logging_strategy="epoch",
    )
    trainer = _Trainer(
        config,
        model=model,
        args=arguments,
        train_dataset=encoded["train"],
        eval_dataset=encoded["val"],
        data_collator=collator,
        callbacks=[
            _Seal,
            _EpochLines,
            TensorBoardCallback(SummaryWriter(str(folder / "tensorboard"))),
        ],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    if sys.stderr.isatty():
        trainer.add_callback(_Bars)
    return trainer
