"""Measure a process's peak private memory: without memory shared with others, as mapped files."""

import threading
from pathlib import Path
from types import TracebackType

EVERY = 0.02  # seconds


class PeakMemory:
    """Measures this process's peak anonymous memory in a `with` block; read `bytes` after it."""

    def __init__(self) -> None:
        self.bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self.bytes = max(self.bytes, anonymous())


def anonymous() -> int:
    """Return the anonymous memory that this process holds now, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("RssAnon"))
    return 1024 * int(kilobytes)
