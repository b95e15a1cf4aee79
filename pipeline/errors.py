"""Errors that the user can fix, each with a one-line message. Any other exception is a bug."""

from collections.abc import Mapping
from itertools import islice

from features.errors import FeatureError
from model.errors import ModelError

NAMED = 5  # a message names at most so many files and counts the rest


class PipelineError(ValueError):
    """An error in the input, the settings or the machine. The message is one line."""


class DataError(PipelineError):
    """A data set is not as expected. The message names the file and says what to do."""


class SettingError(PipelineError):
    """An option's value is out of range or conflicts with another option."""


class DeviceError(PipelineError):
    """The requested device is not available on this machine."""


class SpaceError(PipelineError):
    """The disk has less free space than a stage needs."""


class LockError(PipelineError):
    """A file of the store cannot be locked: its file system has no working locks."""


class StageError(PipelineError):
    """A stage cannot run now: its input changed while it was read."""


# features/ and model/ may not import this module, so each has its own base class.
FAMILY = (PipelineError, FeatureError, ModelError)


def first_few(problems: Mapping[str, str]) -> str:
    """List the first unusable files with the reason for each, and count the others.

    problems: the reason by file name.
    """
    shown = "; ".join(f"{name} ({reason})" for name, reason in islice(problems.items(), NAMED))
    more = f"; and {len(problems) - NAMED} more: report.json" if len(problems) > NAMED else ""
    return shown + more
