"""A task that prints lines and makes no output."""

import luigi


class Listing(luigi.Task):
    """A task that prints lines. It runs each time it is requested."""

    _done = False

    def __init_subclass__(cls) -> None:
        cls._visible_in_registry = True

    # Luigi reads the parameters of every visible class; this base class is hidden from it.
    _visible_in_registry = False

    def complete(self) -> bool:
        return self._done

    def lines(self) -> list[str]:
        """Return the lines to print."""
        raise NotImplementedError

    def run(self) -> None:
        print("\n".join(self.lines()), flush=True)
        self._done = True
