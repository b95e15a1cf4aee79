"""Errors of this folder. Each reports a fault in a file that the user can repair."""


class ModelError(ValueError):
    """An encoder or a checkpoint that cannot be used. The message is one line."""
