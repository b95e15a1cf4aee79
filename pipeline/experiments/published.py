"""Figures of the paper (HVPNeT, Findings of NAACL 2022), to cite beside ours and never among them.

Percent: precision, recall, F1. The authors ran UMT, UMGF and MEGA themselves; the settings of the
other systems are not published. Means over the seeds in SEEDS, without deviations.
"""

import re
from dataclasses import dataclass

from model.hvpnet.variants import FLAT, HVPNET, ONE_TO_THREE, ONLY_OBJECTS, TEXT_ONLY
from pipeline.training.possible import PREDICTED

SEEDS = (1, 49, 1234, 2021, 4321)  # of Table 1
LOW_RESOURCE_SEEDS = (1, 2, 49, 4321, 1234)  # of Figure 3
# F1 is a mean over seeds, so it may differ a little from the F1 of mean P and mean R.
MOST_APART = 0.2
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)  # of Figure 3; the paper prints its ends, 5 % and 50 %

NOT_STARTED = "not started"  # runs with the settings of Table 3, without a first training
TEXT, BOTH, OURS = "text", "text and image", "HVPNeT"
Scores = tuple[float, float, float]


@dataclass(frozen=True)
class Cited:
    """A row of Table 1. scores: data set -> precision, recall, F1. note: a footnote."""

    group: str
    system: str
    scores: dict[str, Scores]
    note: str = ""


def _row(
    group: str,
    system: str,
    twitter2015: Scores | None,
    twitter2017: Scores | None,
    mnre: Scores | None,
    note: str = "",
) -> Cited:
    given = {"twitter2015": twitter2015, "twitter2017": twitter2017, "mnre": mnre}
    return Cited(group, system, {name: s for name, s in given.items() if s is not None}, note)


# fmt: off
TABLE_1 = (
    _row(TEXT, "CNN-BiLSTM-CRF", (66.24, 68.09, 67.15), (80.00, 78.76, 79.37), None),
    _row(TEXT, "HBiLSTM-CRF", (70.32, 68.05, 69.17), (82.69, 78.16, 80.37), None),
    _row(TEXT, "BERT-CRF", (69.22, 74.59, 71.81), (83.32, 83.57, 83.44), None),
    _row(TEXT, "PCNN", None, None, (62.85, 49.69, 55.49)),
    _row(TEXT, "MTB", None, None, (64.46, 57.81, 60.86)),
    _row(BOTH, "AdapCoAtt-BERT-CRF", (69.87, 74.59, 72.15), (85.13, 83.20, 84.10), None),
    _row(BOTH, "OCSGA", (74.71, 71.21, 72.92), None, None),
    _row(BOTH, "UMT", (71.67, 75.23, 73.41), (85.28, 85.34, 85.31), (62.93, 63.88, 63.46)),
    _row(BOTH, "UMGF", (74.49, 75.21, 74.85), (86.54, 84.50, 85.51), (64.38, 66.23, 65.29),
         "A public index marks UMGF's AAAI paper as retracted."),
    _row(BOTH, "BERT+SG", None, None, (62.95, 62.65, 62.80)),
    _row(BOTH, "MEGA", (70.35, 74.58, 72.35), (84.03, 84.75, 84.39), (64.51, 68.44, 66.41)),
    _row(BOTH, "VisualBERT", (68.84, 71.39, 70.09), (84.06, 85.39, 84.72), (57.15, 59.48, 58.30)),
    _row(OURS, "HVPNeT-Flat", (73.76, 75.32, 74.54), (84.43, 86.42, 85.41), (79.32, 78.20, 78.75)),
    _row(OURS, "HVPNeT-1T3", (74.25, 75.45, 74.85), (85.43, 85.85, 85.75), (81.18, 78.46, 79.25)),
    _row(OURS, "HVPNeT-OnlyObj",
         (74.07, 76.23, 75.13), (85.58, 87.52, 86.55), (81.57, 80.94, 81.25)),
    _row(OURS, "HVPNeT", (73.87, 76.82, 75.32), (85.84, 87.93, 86.87), (83.64, 80.78, 81.85)),
)
# fmt: on


_BERT_CRF = "BERT-CRF"  # what the variant text-only is for entities
_VARIANTS = {
    HVPNET: "HVPNeT",
    FLAT: "HVPNeT-Flat",
    ONE_TO_THREE: "HVPNeT-1T3",
    ONLY_OBJECTS: "HVPNeT-OnlyObj",
}
# Systems whose code for a task nobody published; the figures of some are cited all the same.
_WITHOUT_CODE = {
    *(("umt", "re"), ("umgf", "re"), ("bert-sg", "re"), ("visualbert", "re")),
    ("mega", "ner"),
}


def title_of(system: str) -> str:
    """Return the paper's name of a system, such as "MTB" of mtb, or else its own."""
    plain = _plain(system)
    titles = [row.system for row in TABLE_1 if _plain(row.system) in (plain, f"{plain}bertcrf")]
    return titles[0] if titles else system


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def cited_name(task: str, variant: str, system: str = HVPNET) -> str | None:
    """Return the name in TABLE_1 of what is trained for a task; None for what the paper lacks."""
    if system != HVPNET:
        return title_of(system)
    if variant == TEXT_ONLY:
        return _BERT_CRF if task == "ner" else None
    return _VARIANTS[variant]


def note_of(system: str, task: str) -> str:
    """Return a note on a system's scores in a task; "" for none."""
    if (system, task) not in _WITHOUT_CODE:
        return ""
    return f"no code of it for {PREDICTED[task]} is published: its form here is this project's own"


@dataclass(frozen=True)
class Transfer:
    """A figure of Table 3: F1 on `target`, trained on it alone, and started from `source`."""

    system: str
    source: str
    target: str
    alone: float
    started: float
    note: str = ""


TABLE_3 = (
    Transfer("UMGF", "twitter2017", "mnre", 63.85, 62.90),
    Transfer("UMGF", "mnre", "twitter2017", 85.51, 84.35),
    Transfer(
        *("HVPNeT", "twitter2017", "mnre", 81.85, 82.50),
        note="The paper prints the gain as 0.75; its two figures give 0.65.",
    ),
    Transfer("HVPNeT", "mnre", "twitter2017", 86.87, 87.13),
)


def footnote(row: Cited, dataset: str) -> str:
    """Return the note of a cited row on a data set: its own, and where P and R give another F1."""
    precision, recall, f1 = row.scores[dataset]
    computed = 2 * precision * recall / (precision + recall)
    notes = [row.note] if row.note else []
    if abs(computed - f1) > MOST_APART:
        notes.append(f"The paper prints F1 {f1:.2f}; its P and R give {computed:.2f}.")
    return " ".join(notes)
