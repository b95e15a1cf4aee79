"""The most private memory that a process had: what no other could share, such as mapped files."""

import threading
from pathlib import Path
from types import TracebackType

EVERY = 0.02  # seconds


class PeakMemory:
    """`found`: the most anonymous memory (bytes) of this process while the context was open."""

    def __init__(self) -> None:
        self.found = 0
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
            self.found = max(self.found, anonymous())


def anonymous() -> int:
    """Bytes of anonymous memory that this process holds now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("RssAnon"))
    return 1024 * int(kilobytes)
