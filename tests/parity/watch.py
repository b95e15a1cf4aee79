"""Keep what the modules of a model are given and give."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Name of a module -> arguments and output of its last call."""
    seen: dict[str, tuple[Any, Any]] = {}

    def note(name: str) -> Any:
        return lambda _, arguments, output: seen.update({name: (arguments, output)})

    hooks = [part.register_forward_hook(note(name)) for name, part in model.named_modules()]
    yield seen
    for hook in hooks:
        hook.remove()
