"""Notes on what readers changed or left out: counted, the first few named, logged once."""

import logging
from collections import defaultdict
from dataclasses import dataclass, field

from pipeline.errors import NAMED

log = logging.getLogger(__name__)


@dataclass
class Notes:
    """Cases by what happened to them, in the order in which they came up."""

    cases: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, what: str, case: str) -> None:
        """Note one case of `what`, a phrase in the plural."""
        self.cases[what].append(case)

    def lines(self) -> list[str]:
        """One line for each kind of case: how many, and which come first."""
        return [
            f"{len(cases)} {what}: {'; '.join(cases[:NAMED])}" + ("; …" if cases[NAMED:] else "")
            for what, cases in self.cases.items()
        ]

    def log(self, dataset: str) -> None:
        """Log the lines, each with the data set's name before it."""
        for line in self.lines():
            log.warning("%s: %s", dataset, line)
