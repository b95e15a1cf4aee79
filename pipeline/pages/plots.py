"""Plots, as SVG."""

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
