"""The family of errors of this folder: each is a fault in a file that people can mend."""


class ModelError(ValueError):
    """An encoder or a checkpoint cannot be used. The message is one line."""
