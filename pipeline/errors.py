"""Errors that people can mend: one family, a line each. All else is a fault of this program."""

from collections.abc import Mapping
from itertools import islice

from features.errors import FeatureError
from model.errors import ModelError

NAMED = 5  # files that a message names before it only counts


class PipelineError(ValueError):
    """A fault in the input, the settings or the machine. The message is one line."""


class DataError(PipelineError):
    """A data set is not as expected. The message names the file and what to do."""


class SettingError(PipelineError):
    """An option's value is out of range, or does not go with another's."""


class DeviceError(PipelineError):
    """The device that was asked for is not in this machine."""


class SpaceError(PipelineError):
    """The disk has less room than a stage needs."""


class LockError(PipelineError):
    """A file of the store cannot be locked: its file system has no working locks."""


class StageError(PipelineError):
    """A stage cannot run now: its input changed while it was read."""


# features/ and model/ lie below this folder, so each has a base class of its own.
FAMILY = (PipelineError, FeatureError, ModelError)


def first_few(problems: Mapping[str, str]) -> str:
    """The first files that cannot be used, each with the reason, and how many more there are."""
    shown = "; ".join(f"{name} ({why})" for name, why in islice(problems.items(), NAMED))
    more = f"; and {len(problems) - NAMED} more: report.json" if len(problems) > NAMED else ""
    return shown + more
