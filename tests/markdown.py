"""The Markdown of README and docs, as far as tests read it: sections, tables, links, commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.cli import HOME

PAGES = (HOME / "README.md", *sorted((HOME / "docs").glob("*.md")))
PROGRAMS = ("luigi", "hvpnet", "make", "python", "pip", "source", ".venv/bin/python")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Section:
    """A heading, and the text below it up to the next heading of any level."""

    title: str
    text: str

    def rows(self) -> list[list[str]]:
        """The cells of its tables' rows, without the rows that only draw the line."""
        lines = [line.strip("| ") for line in self.text.splitlines() if line.startswith("|")]
        return [
            [c.strip() for c in re.split(r" \| ?", line)] for line in lines if line.strip("-| ")
        ]


def sections(page: Path) -> list[Section]:
    """The sections of a page; what looks like a heading within a block of code is none."""
    parts: list[tuple[str, list[str]]] = []
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.match(r"#+ (.*)", line)
        if heading:
            parts.append((heading[1], []))
        else:
            parts[-1][1].append(line)
    return [Section(title, "\n".join(lines)) for title, lines in parts]


def anchors(page: Path) -> set[str]:
    """The anchors that a code host gives to a page's headings."""
    titles = (section.title.lower() for section in sections(page))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures, those to other sites left out."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [target for target in _LINK.findall(text) if "://" not in target]


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of code in a language."""
    text = page.read_text(encoding="utf-8")
    return [code for found, code in _FENCE.findall(text) if found == language]


def commands(page: Path) -> list[list[str]]:
    """The words of each command in a block of `sh`, in order."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def inline_commands(page: Path) -> list[list[str]]:
    """The words of each command within a paragraph or a table."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    spans = [" ".join(span.split()) for span in _CODE.findall(text)]
    return [shlex.split(span) for span in spans if span.split()[0] in PROGRAMS and " " in span]
