"""Notes on what readers changed or left out: counted, with the first cases, and logged once."""

import logging
from collections import defaultdict
from dataclasses import dataclass, field

from pipeline.errors import NAMED

log = logging.getLogger(__name__)


@dataclass
class Notes:
    """The cases of each kind, in order."""

    cases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, what: str, case: str) -> None:
        """Note a case. what: its kind, a phrase in the plural."""
        self.cases[what].append(case)

    def lines(self) -> list[str]:
        """Return a line for each kind: the number of cases, and the first of them."""
        return [
            f"{len(cases)} {what}: {'; '.join(cases[:NAMED])}" + ("; …" if cases[NAMED:] else "")
            for what, cases in self.cases.items()
        ]

    def log(self, dataset: str) -> None:
        """Log the lines as warnings, each after the data set's name."""
        for line in self.lines():
            log.warning("%s: %s", dataset, line)
