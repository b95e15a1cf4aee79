"""Errors of this folder. Each reports a fault in a file that the user can repair."""


class ModelError(ValueError):
    """An encoder, a checkpoint or a system that cannot be used. The message is one line."""
