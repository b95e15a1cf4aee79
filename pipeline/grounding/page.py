"""The output of GroundCrops as one HTML page: posts, their pictures with boxes, and crops."""

import html
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL.Image import Image

from features.pictures import PictureError, cut, open_picture
from pipeline.grounding.crops import Grounded
from pipeline.pages.drawing import Crop, inline_image, picture_with_boxes
from pipeline.pages.html import COLOURS, as_number, as_words, whole_page
from pipeline.pages.plots import bar_chart

CROP = 160  # longest side of a crop on the page, pixels
NAMED = 20  # most problems listed
BINS = 20  # of the histogram of scores


def show(
    grounded: Sequence[Grounded],
    root: Path,
    report: dict[str, Any],
    title: str,
    posts: int,
    page: Path,
    texts: Sequence[str] | None = None,
) -> None:
    """Write one self-contained HTML page: posts with their picture, boxes and crops.

    root: the data root.
    report: the contents of `report.json`.
    title: the data set's name.
    posts: most posts to show, evenly spread over those with a usable picture, in their order.
    page: the file to write.
    texts: of each post's picture, to show with it; "" for none.
    """
    shown_texts = [""] * len(grounded) if texts is None else texts
    distinct: dict[tuple[str | None, tuple[str, ...]], tuple[Grounded, str]] = {}
    for post, text in zip(grounded, shown_texts, strict=True):
        if post.picture is not None:
            distinct.setdefault((post.picture, post.tokens), (post, text))
    # Pictures that can't be used are listed at the end of the page.
    pictured = [pair for pair in distinct.values() if pair[0].problem is None or pair[0].regions]
    pictured = pictured or list(distinct.values())
    count = min(posts, len(pictured))
    chosen = [pictured[n * len(pictured) // count] for n in range(count)]
    header = f'{_facts(report)}<div class="charts">{_charts(grounded)}</div>'
    shown = f"{count:,} of {len(pictured):,} posts with a picture, evenly spread."
    body = f"""<main><p class="soft">{shown} A number
and a colour join a phrase, its box and its crop; <span class="lost">underlined</span> phrases have
no box.</p>
<div class="cards">{"".join(_card(post, root, text) for post, text in chosen)}</div></main>
{_problems(grounded)}"""
    page.write_text(whole_page(title, header, body), encoding="utf-8")


def _facts(report: dict[str, Any]) -> str:
    """Return the settings in one line, then the report's numbers, except those with a chart."""
    settings = report.get("settings", {}).items()
    shown = " · ".join(f"{as_words(k)} <b>{as_number(v)}</b>" for k, v in settings if v is not None)
    numbers, lists = "", ""
    for name, value in report.items():
        start = f"<div><dt>{as_words(name)}</dt>"
        if name == "problems" and value:
            value = f'<a href="#problems">{len(value):,}</a>'
            numbers += f'{start}<dd class="number">{value}</dd></div>'
        elif not isinstance(value, dict):
            numbers += f'{start}<dd class="number">{as_number(value)}</dd></div>'
        elif value and name not in ("settings", "posts_by_regions", "answers_by", "filled"):
            parts = (f"{escape(str(key))} <b>{as_number(part)}</b>" for key, part in value.items())
            lists += f"{start}<dd>{'<br>'.join(parts)}</dd></div>"
    return f'<p class="soft settings">{shown}</p><dl>{numbers}{lists}</dl>'


def _charts(grounded: Sequence[Grounded]) -> str:
    """Return bar charts: regions per post, and the scores of each source of regions."""
    counts = Counter(len(post.regions) for post in grounded)
    bars = [(f"{n}", counts[n]) for n in range(max(counts, default=0) + 1)]
    charts = bar_chart("regions a post", bars)
    scores: dict[str, list[float]] = {}
    for region in (region for post in grounded for region in post.regions):
        if region.score is not None:
            scores.setdefault(region.source, []).append(region.score)
    for source, values in sorted(scores.items()):
        low, high = min(0.0, *values), max(1.0, *values)
        bins = Counter(min(BINS - 1, int((v - low) / (high - low) * BINS)) for v in values)
        ends = {0: f"{low:.3g}", BINS - 1: f"{high:.3g}"}
        title = f"{source}: scores, median {sorted(values)[len(values) // 2]:.2f}"
        charts += bar_chart(title, [(ends.get(n, ""), bins[n]) for n in range(BINS)])
    return charts


def _problems(grounded: Sequence[Grounded]) -> str:
    """List the pictures that can't be used: the count of each kind, and the first pictures."""
    problems = {str(post.picture): post.problem for post in grounded if post.problem is not None}
    if not problems:
        return ""
    kinds = Counter(why.partition(":")[0] for why in problems.values()).most_common()
    counts = ", ".join(f"{count:,} {escape(kind)}" for kind, count in kinds)
    lines = [f"<li>{escape(f'{name}: {why}')}</li>" for name, why in list(problems.items())[:NAMED]]
    if len(problems) > NAMED:
        lines.append(f"<li>and {len(problems) - NAMED:,} more: report.json</li>")
    return (
        f'<section id="problems"><h2>Pictures that can\'t be used</h2><p>{counts}</p>'
        f"<ul>{''.join(lines)}</ul></section>"
    )


# --- one post


def _card(post: Grounded, root: Path, text: str) -> str:
    """Return the HTML of a post. text: its picture's, "" for none."""
    picture, why = None, f"Picture {post.picture}: {post.problem}"
    if post.problem is None:
        try:
            picture, why = open_picture(root / str(post.picture)), ""
        except PictureError as error:
            why = f"The picture can't be opened: {error}"
    crops = _crops(post, picture, root)
    if picture is not None and not crops:
        why = "No region: nothing was found"
        why += "." if post.phrases else ", and the post has no phrase to look for."
    source = f"phrases: {post.phrase_source} · " if post.phrase_source else ""
    look = "" if picture is None else picture_with_boxes(picture, crops)
    look += f'<div class="crops">{"".join(map(_crop, crops))}</div>' if crops else ""
    return (
        f'<article><div class="id soft"><span>{escape(post.id)}</span>'
        f"<span>{escape(source)}{escape(post.split)}</span></div>{_sentence(post, crops)}"
        + (f'<p class="why">{escape(why)}</p>' if why else "")
        + (f'<p class="says" dir="auto">{escape(text)}</p>' if text else "")
        + (f'<div class="look">{look}</div></article>' if look else "</article>")
    )


def _crops(post: Grounded, picture: Image | None, root: Path) -> list[Crop]:
    colours: dict[object, int] = {}  # regions of one phrase share a colour
    crops = []
    for number, region in enumerate(post.regions, start=1):
        phrase = number if region.phrase is None else region.phrase
        colour = colours.setdefault(phrase, len(colours)) % len(COLOURS)
        pixels, why = None, ""
        try:
            if region.file is not None:
                pixels = open_picture(root / region.file)
            elif region.box is not None and picture is not None:
                pixels = cut(picture, region.box)
        except PictureError as error:
            why = str(error)
        crops.append(Crop(number, colour, region, pixels, why))
    return crops


def _crop(crop: Crop) -> str:
    """Return the HTML of a crop with its number, phrase, score and source."""
    image = inline_image(crop.pixels, CROP) if crop.pixels else ""
    size = f"{crop.pixels.width}×{crop.pixels.height} pixels" if crop.pixels else crop.why
    sources = filter(None, (crop.region.source, crop.region.phrase_source))
    return (
        f'<figure class="c{crop.colour}">{image}<figcaption><span class="n">{crop.number}</span> '
        f"<bdi>{escape(crop.region.phrase or '')}</bdi> <b>{crop.score}</b><br>"
        f"{escape(', '.join(sources))}<br>{escape(size)}</figcaption></figure>"
    )


# --- the sentence


def _sentence(post: Grounded, crops: Sequence[Crop]) -> str:
    """Return the HTML of the tokens with phrases marked, then of phrases not in the sentence."""
    words = [_plain(token) for token in post.tokens]
    before, behind, taken = dict[int, str](), dict[int, str](), set[int]()
    absent = []
    boxed = [crop.region.phrase for crop in crops if crop.region.phrase]
    for phrase in dict.fromkeys((*boxed, *post.phrases)):
        start, end = _mark(phrase, crops)
        span = _find(_plain(phrase), words, taken)
        if span:
            before[span[0]], behind[span[-1]] = start, end
            taken.update(span)
        else:
            absent.append(f"{start}<bdi>{escape(phrase)}</bdi>{end}")
    shown = " ".join(
        before.get(n, "") + escape(html.unescape(token)) + behind.get(n, "")
        for n, token in enumerate(post.tokens)
    )
    also = f'<p class="also soft">also looked for: {" ".join(absent)}</p>' if absent else ""
    return f'<p class="text" dir="auto">{shown}</p>{also}'


def _mark(phrase: str, crops: Sequence[Crop]) -> tuple[str, str]:
    """Return the HTML before and after a phrase: the colour and numbers of its boxes, if any."""
    boxed = [crop for crop in crops if crop.region.phrase == phrase]
    if not boxed:
        return '<span class="lost">', "</span>"
    numbers = ",".join(str(crop.number) for crop in boxed)
    return f'<mark class="c{boxed[0].colour}">', f'<span class="n">{numbers}</span></mark>'


def _find(phrase: str, words: Sequence[str], taken: set[int]) -> range:
    """Return the range of words whose letters spell the phrase; empty if there is none."""
    for start in range(len(words)):
        letters = ""
        for end in range(start, len(words)):
            letters += words[end]
            if not words[start] or end in taken or not phrase.startswith(letters):
                break
            if letters == phrase:
                return range(start, end + 1)
    return range(0)


def _plain(text: str) -> str:
    """Return the letters and digits in lower case, which cleaning a phrase does not change."""
    return "".join(filter(str.isalnum, html.unescape(text).casefold()))
