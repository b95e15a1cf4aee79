"""HTML of the report's sections: tables, sentences, figures, parts to unfold."""

from collections.abc import Iterable, Sequence
from html import escape


def floats(mean: float, deviation: float | None) -> str:
    """Return a mean with its deviation over seeds, if there is one, with two decimals."""
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a table of plain text. The first cell of a row is its heading; caption: plain text."""
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr><th><bdi>{escape(row[0])}</bdi></th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    below = f'<p class="soft">{escape(caption)}</p>' if caption else ""
    return f'<div class="wide"><table class="rows"><tr>{titles}</tr>{body}</table></div>{below}'


def sentences(lines: Iterable[str]) -> str:
    """Return sentences as a list; "" if there are none."""
    items = "".join(f"<li>{escape(line)}.</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def notes(lines: Iterable[str]) -> str:
    """Return footnotes."""
    return "".join(f'<p class="soft">{escape(line)}</p>' for line in lines)


def figure(svg: str, caption: str = "") -> str:
    """Return an SVG element as a figure, on white in both themes. caption: plain text."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="drawn">{svg}{below}</figure>'


def details(title: str, body: str) -> str:
    """Return HTML that is unfolded by a click, and printed unfolded."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"
