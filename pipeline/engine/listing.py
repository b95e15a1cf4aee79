"""A task that prints something to read, and makes no output."""

import luigi


class Listing(luigi.Task):
    """Lines to print. It runs each time it is asked for."""

    _done = False

    def __init_subclass__(cls) -> None:
        cls._visible_in_registry = True

    # Luigi offers the parameters of every class that it sees; this one has nothing to print.
    _visible_in_registry = False

    def complete(self) -> bool:
        return self._done

    def lines(self) -> list[str]:
        """The lines to print."""
        raise NotImplementedError

    def run(self) -> None:
        print("\n".join(self.lines()), flush=True)
        self._done = True
