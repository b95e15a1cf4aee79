"""The family of errors of this folder: each is a fault in a file that people can mend."""

from pathlib import Path


class FeatureError(ValueError):
    """A picture, a box, weights, or stored rows cannot be used. The message is one line.

    `file`: the damaged file, if it is one that a stage made.
    """

    def __init__(self, message: str, file: Path | None = None) -> None:
        super().__init__(message)
        self.file = file
