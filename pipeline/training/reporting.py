"""Report a run's figures to TensorBoard and to the trackers that --report-to names."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.corpus.post import SPLITS
from pipeline.errors import SettingError
from pipeline.training.results import PRF

TENSORBOARD = "tensorboard"  # also the folder of its files in a run's output
PER_CLASS, STRICT = "per_class", "strict"
# What to install for the trackers of transformers, where that is not the tracker's name.
_PACKAGES = {"azure_ml": "azureml-core mlflow", "comet_ml": "comet-ml", "flyte": "flytekit"}


def check_trackers(names: Sequence[str]) -> None:
    """Raise SettingError for a tracker that transformers doesn't know or that is not installed.

    TensorBoard is written in any case.
    """
    if not trackers(names):
        return
    from transformers.integrations import (
        get_available_reporting_integrations,
        is_flytekit_available,
    )
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    installed = {*get_available_reporting_integrations(), *(["flyte"] * is_flytekit_available())}
    for name in trackers(names):
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise SettingError(f"--report-to: expected some of {known}, found {name!r}")
        if name not in installed:
            raise SettingError(
                f"--report-to: expected a tracker that is installed and configured, found {name}; "
                f"pip install {_PACKAGES.get(name, name)}"
            )


def trackers(names: Sequence[str]) -> list[str]:
    """Return the names without TensorBoard, whose files a run's output has in any case."""
    return [name for name in names if name != TENSORBOARD]


def write_final(
    folder: Path, results: Mapping[str, Any], settings: Mapping[str, Any], step: int
) -> None:
    """Add a run's final figures and its settings to its TensorBoard, in `folder`.

    results: figures of val and test, as in `metrics.json`.
    step: the last optimizer step, at which the figures are shown.
    """
    from torch.utils.tensorboard import SummaryWriter

    figures = dict(final_figures(results))
    compared = {f"final/{split}/f1": results[split]["f1"] for split in SPLITS if split in results}
    with SummaryWriter(str(folder)) as writer:
        for name, value in figures.items():
            if name not in compared:  # else add_hparams writes it
                writer.add_scalar(name, value, step)
        writer.add_hparams(
            {n: v if isinstance(v, bool | int | float) else str(v) for n, v in settings.items()},
            compared,
            run_name=".",
            global_step=step,
        )


def final_figures(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the name and value of each final figure, such as `final/test/f1`.

    These are precision, recall and F1 (for entities also strict), F1 of each class (all 0-100), and
    the calibration error (0-1).
    """
    for split in SPLITS:
        figures = results.get(split)
        if figures is None:
            continue
        for name in PRF:
            yield f"final/{split}/{name}", figures[name]
            if STRICT in figures:
                yield f"final/{split}/{STRICT}/{name}", figures[STRICT][name]
        for label, row in figures[PER_CLASS].items():
            yield f"final/{split}/class_f1/{label.strip('/')}", row["f1"]
        error = figures["calibration"]["error"]
        if error is not None:  # None: nothing was predicted
            yield f"final/{split}/calibration_error", error
