"""Plots as SVG, and tables whose cells are shaded by their values."""

from collections.abc import Sequence
from html import escape


def bar_chart(title: str, bars: Sequence[tuple[str, int]]) -> str:
    """Draw bars with labels below them and, for at most 8 bars, counts above them."""
    step, most = 240 / len(bars), max(1, *(count for _, count in bars))
    drawn = []
    for n, (label, count) in enumerate(bars):
        top, middle = 82 - 64 * count / most, (n + 0.5) * step
        drawn.append(
            f'<rect x="{n * step + 1:.1f}" y="{top:.1f}" width="{step - 2:.1f}" '
            f'height="{82 - top:.1f}"/><text x="{middle:.1f}" y="96">{label}</text>'
        )
        if len(bars) <= 8:
            drawn.append(f'<text x="{middle:.1f}" y="{top - 4:.1f}">{count:,}</text>')
    svg = f'<svg viewBox="0 0 240 100">{"".join(drawn)}<path d="M0 82.5H240"/></svg>'
    return f'<figure class="chart">{escape(title)}{svg}</figure>'


def heat_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[float]]],
    digits: int = 2,
) -> str:
    """Return a table of shares, from 0 to 1; the greater a share, the darker its cell.

    rows: a name and a share for each column. Without rows there is no table.
    digits: decimals of a share.
    """
    if not rows:
        return ""
    most = max(share for _, shares in rows for share in shares) or 1.0
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr><th><bdi>{escape(name)}</bdi></th>"
        + "".join(f'<td style="--v:{60 * x / most:.0f}%">{x:.{digits}f}</td>' for x in shares)
        + "</tr>"
        for name, shares in rows
    )
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f'<table class="heat">{caption}<tr><td></td>{head}</tr>{body}</table>'
