"""transformers' Trainer with our parameter groups, rates, batches, and a log line per epoch."""

import logging
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Sampler
from torch.utils.tensorboard import SummaryWriter
from transformers import Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback

from model.contract import System
from model.errors import ModelError
from pipeline.engine.digests import of_file
from pipeline.engine.files import read_json, settle, write_json
from pipeline.machine import pick_device
from pipeline.training.batches import BucketSampler, Collator
from pipeline.training.config import TrainConfig
from pipeline.training.encode import Encoded
from pipeline.training.finetune import FineTuned
from pipeline.training.optimizers import make_optimizer, make_schedule
from pipeline.training.reporting import TENSORBOARD, trackers

EVAL_BATCH = 64
CHECKPOINTS = "checkpoints"  # folder in the output of an unfinished run
SEAL = "digests.json"  # digests of a complete checkpoint's files
RANK = "rank"  # figure by which the best epoch is chosen
log = logging.getLogger(__name__)


def optimizer_groups(model: System | FineTuned, config: TrainConfig) -> list[dict[str, Any]]:
    """Return the optimizer's groups: three rates; biases and norms don't decay (Appendix B.1).

    With `decay_all` everything decays, as in the published scripts. Raises ModelError for a
    parameter in no group of the model: its learning rate is undefined.
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
                f"found {name} in none; add its module there, with the rate it trains at"
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
    """Return the newest complete checkpoint of a killed run, if any. Removes incomplete ones."""
    saved = sorted((folder / CHECKPOINTS).glob("checkpoint-*"))
    states = {checkpoint.name: state for checkpoint in saved if (state := _state(checkpoint))}
    good: dict[str, int] = {}
    for checkpoint in saved:
        best = states.get(checkpoint.name, {}).get("best_model_checkpoint")
        # Without the best checkpoint so far, a resumed run would end with another model.
        if checkpoint.name in states and (best is None or Path(best).name in states):
            good[str(checkpoint)] = states[checkpoint.name]["global_step"]
        else:
            log.warning("%s is incomplete: it is made again", checkpoint.name)
            shutil.rmtree(checkpoint)
    return max(good, key=good.__getitem__, default=None)


def _state(checkpoint: Path) -> dict[str, Any] | None:
    """Return the state of a complete checkpoint: each file has the digest that `_Seal` recorded.

    A checkpoint without digests may be complete, as the state is written last: check its files.
    Returns None for an incomplete one.
    """
    try:
        state: dict[str, Any] = read_json(checkpoint / "trainer_state.json")
        if not (checkpoint / SEAL).exists():
            return state if _ends_well(checkpoint) else None
        digests = read_json(checkpoint / SEAL)
        good = all(of_file(checkpoint / name) == digest for name, digest in digests.items())
    except PermissionError:  # of another group member; it may be complete
        raise
    except (OSError, ValueError):
        return None
    return state if good else None


def _ends_well(checkpoint: Path) -> bool:
    """Return True if no file is truncated, as by a power cut; both file formats show that."""
    try:
        with safe_open(checkpoint / "model.safetensors", "pt"):
            pass
    except (OSError, SafetensorError):
        return False
    saved = [file for file in checkpoint.iterdir() if file.suffix in (".pt", ".pth", ".bin")]
    return all(map(zipfile.is_zipfile, saved))


class _Seal(TrainerCallback):
    """Record the digests of each complete checkpoint, then remove those no longer needed."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Correct the best checkpoint's path: a resumed run may have been moved."""
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
    """The Trainer with our parameter groups and rates, and batches of posts of similar length."""

    def __init__(self, config: TrainConfig, **options: Any) -> None:
        self.run_config = config
        super().__init__(**options)

    optimizer: torch.optim.Optimizer | None
    lr_scheduler: LRScheduler | None

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            declared: Any = model or self.model
            config = self.run_config
            groups = optimizer_groups(declared, config)
            self.optimizer = make_optimizer(
                config.optimizer, groups, config.learning_rate, config.momentum
            )
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LRScheduler:
        if self.lr_scheduler is None:
            self.lr_scheduler = make_schedule(
                self.run_config.rate_schedule,
                optimizer or self.create_optimizer(),
                self.args.get_warmup_steps(num_training_steps),
                num_training_steps,
                self.run_config.epochs,
            )
        return self.lr_scheduler

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Return the norm if clipping computed it. Computing it for the log costs 5 % of a step."""
        return grad_norm

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        lengths = [len(post.input_ids) for post in self.train_dataset]
        return BucketSampler(lengths, self.run_config.batch_size, self.run_config.seed)


class _Bars(ProgressCallback):
    """The Trainer's progress bars, named, without printing its log between them."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        super().on_train_begin(args, state, control, **others)
        if self.training_bar is not None:
            self.training_bar.set_description("training")

    def on_prediction_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        super().on_prediction_step(args, state, control, **others)
        if self.prediction_bar is not None and not self.prediction_bar.desc:
            self.prediction_bar.set_description("scoring")
            self.prediction_bar.leave = False

    def on_log(self, *_: Any, **__: Any) -> None:
        """Print nothing: the log goes to TensorBoard."""


class _EpochLines(TrainerCallback):
    """Log one line for each epoch that is scored."""

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


def _arguments(
    folder: Path, device: str, precision: str, report_to: Sequence[str] = (), **training: Any
) -> TrainingArguments:
    """Return the Trainer's arguments that training and evaluation share."""
    arguments = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        per_device_eval_batch_size=EVAL_BATCH,
        bf16=precision == "bfloat16",
        report_to=trackers(report_to),
        label_names=["labels"],
        remove_unused_columns=False,
        use_cpu=pick_device(device) == "cpu",
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=pick_device(device) != "cpu",
        **training,
    )
    # With several GPUs, the Trainer would multiply the batch size by their number: use only one.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def make_evaluator(
    model: nn.Module, collator: Collator, folder: Path, device: str, precision: str
) -> Trainer:
    """Return a Trainer that only predicts."""
    arguments = _arguments(folder, device, precision)
    trainer = Trainer(model=model, args=arguments, data_collator=collator)
    _use_named_bars(trainer)
    return trainer


def make_trainer(
    model: nn.Module,
    encoded: Mapping[str, list[Encoded]],
    collator: Callable[[Sequence[Encoded]], dict[str, torch.Tensor]],
    config: TrainConfig,
    folder: Path,
    device: str,
    report_to: Sequence[str] = (),
) -> Trainer:
    """Return a Trainer of `model`. It saves a checkpoint per epoch and keeps the best by RANK.

    report_to: names of trackers beside TensorBoard; see `check_trackers`.
    """
    arguments = _arguments(
        folder,
        device,
        config.precision,
        report_to,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup,  # a value below 1 is a share of all steps
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
            TensorBoardCallback(SummaryWriter(str(folder / TENSORBOARD))),
        ],
    )
    _use_named_bars(trainer)
    return trainer


def _use_named_bars(trainer: Trainer) -> None:
    """Replace what the Trainer prints by our bars, where there is a terminal."""
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    if sys.stderr.isatty():
        trainer.add_callback(_Bars)
