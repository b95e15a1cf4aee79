"""The section of a page that shows cases: a card for each post."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from features.grounding import Region
from model.hvpnet.variants import HVPNET, RELEASED
from pipeline.corpus.labels import NO_RELATION
from pipeline.pages import cells
from pipeline.pages.drawing import Crop
from pipeline.pages.html import COLOURS
from pipeline.pages.plots import heat_table
from pipeline.prediction.comparison_page import MARKS, reading_of, relation_line
from pipeline.prediction.page import colours_of, legend, mark_of, marked_text, score_of
from pipeline.prediction.prediction import NONE, USED, Entity
from pipeline.prediction.prediction import PICTURE as WHOLE

LOOKS = (
    "Attention: the share of its attention that {token} pays to each region, averaged over heads "
    'and layers of {run} (Eq. 9); the rest goes to {rest}. "Even" is the share that the regions '
    "would get if all positions and tokens got the same. {positions}"
)
TOKENS = {"re": "an opening marker", "ner": "an entity"}
GRID = (
    "The numbers over a region are the shares of its positions, and the darker a position the "
    "greater its share; shown is the part of the region that the backbone reads."
)
GROUPS = (
    "In style released a position of the prefix is a group of channels, not a place in the region, "
    "so only sums are shown."
)


def section(results: Mapping[str, Any], folder: Path) -> str:
    """Return HTML of the results that `cases_into` wrote into `folder`."""
    title = results["title"]
    colours = colours_of(label for post in results["shown"] for label in _labels(post))
    parts = [results["runs"], [post["id"] for post in results["shown"]]]
    name = f"case-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"
    cards = "".join(
        _Card(post, results, colours, folder, f"{name}-{rank}").html()
        for rank, post in enumerate(results["shown"], start=1)
    )
    runs = "<br>".join(
        f"{escape(run['name'])}: <b>{escape(run['folder'])}</b>" for run in results["runs"]
    )
    lines = "".join(f"<p>{escape(line)}</p>" for line in in_words(results))
    return (
        f'<section><h2>Cases (Table 2): {escape(title)}</h2><p class="soft settings">{runs}</p>'
        f'{lines}<p class="soft">{escape(_about_attention(results))}</p>{legend(colours)}'
        f'<div class="cards">{cards}</div></section>'
    )


def in_words(results: Mapping[str, Any]) -> list[str]:
    """Return sentences that say which posts are shown, and on how many the runs differ."""
    first, others = results["compared"]
    posts = f"{results['posts']:,} {results['split']} posts"
    shown = f"{len(results['shown'])} of {posts} are shown, "
    if results["chosen_by_id"]:
        shown += "chosen by id."
    elif results["differ"]:
        shown += f"of the {results['differ']:,} that some runs predict right and others wrong."
    elif others:
        shown += "as no post is right in one run and wrong in another."
    else:
        shown += "right and wrong ones in turn."
    gained, lost = results["gained"], results["lost"]
    if not others:
        compared = f"{first} is right on {gained:,} posts and wrong on {lost:,}."
    elif len(others) == 1:
        compared = (
            f"{first} is right and {others[0]} wrong on {gained:,} posts, the contrary on {lost:,}."
        )
    else:
        compared = (
            f"{first} beats the mean of {', '.join(others)} on {gained:,} posts, the mean beats it "
            f"on {lost:,}."
        )
    return [f"{shown} {compared} Cases are examples, not evidence of an effect."]


def _about_attention(results: Mapping[str, Any]) -> str:
    if results["looking"] is None:
        return "No run looks at pictures."
    run = results["runs"][results["looking"]]
    if run.get("system", HVPNET) != HVPNET:  # results older than this entry are HVPNeT's
        return f"The pictures are those that {run['name']} reads; attention is HVPNeT's alone."
    released = run["style"] == RELEASED
    return LOOKS.format(
        token=TOKENS[results["task"]],
        run=run["name"],
        rest="the text and to absent regions" if released else "the text",
        positions=GROUPS if released else GRID,
    )


def _labels(post: Mapping[str, Any]) -> Iterator[str]:
    """Yield the labels of all entities that a card marks."""
    for entities in (post["entities"], *(answer["predicted"] for answer in post["predictions"])):
        if entities is not None and not isinstance(entities, str):
            yield from (entity["label"] for entity in entities)


@dataclass(frozen=True)
class _Card:
    """A post of the results. name: of its images, unique on the page."""

    post: Mapping[str, Any]
    results: Mapping[str, Any]
    colours: Mapping[str, int]
    folder: Path
    name: str

    def html(self) -> str:
        post = self.post
        return (
            f'<article><div class="id soft"><span>{escape(post["id"])}</span></div>{self._gold()}'
            f"{self._predictions()}{self._pictures()}{self._attention()}</article>"
        )

    def _gold(self) -> str:
        entities = [Entity(**fields) for fields in self.post["entities"] or ()]
        text = marked_text(
            self.post["text"], entities, self.colours, lambda _, entity: (entity.label,)
        )
        lines = []
        if self.results["task"] == "re":
            head, tail = (Entity(**self.post[end]) for end in ("head", "tail"))
            lines = [relation_line(head, self.post["relation"], tail, "")]
        return reading_of("gold", text, lines)

    def _predictions(self) -> str:
        rows = ""
        for run, answer in zip(self.results["runs"], self.post["predictions"], strict=True):
            about = f"{score_of(answer['score'])} {MARKS[answer['right']]}"
            rows += (
                f"<tr><th>{escape(run['name'])}</th><td>{self._predicted(answer['predicted'])} "
                f'<span class="soft">{about}</span></td></tr>'
            )
        return f'<table class="answers">{rows}</table>'

    def _predicted(self, answer: Any) -> str:
        """Show a predicted relation, or the predicted entities."""
        if isinstance(answer, str):
            return "no relation" if answer == NO_RELATION else f"<b>{escape(answer)}</b>"
        marks = []
        for fields in answer:
            entity = Entity(0, 0, fields["label"], fields["text"], fields["score"])
            about = (entity.label, score_of(entity.score), MARKS[fields["right"]])
            marks.append(mark_of(entity, self.colours, about))
        return " ".join(marks) or "no entities"

    # --- the picture

    def _pictures(self) -> str:
        """Show the picture with its boxes, and define the images of crops that are files."""
        post = self.post
        if self.results["looking"] is None:
            return ""
        html = ""
        if post["picture"] is not None:
            picture = post["picture"]
            jpeg = (self.folder / picture["file"]).read_bytes()
            shown = cells.picture(self._id(picture), jpeg, tuple(picture["size"]), self._crops())
            html = f'<div class="look">{shown}</div>'
        else:
            known = {NONE: "no picture", USED: "picture: the file has changed since"}
            reason = known.get(post["status"], f"picture: {post['status']}")
            html = f'<p class="why">{escape(reason)}</p>'
        images = "".join(
            cells.image(
                self._id(region), (self.folder / region["file"]).read_bytes(), region["size"]
            )
            for region in post["regions"]
            if self._is_own_file(region)
        )
        hidden = f'<svg width="0" height="0" style="position:absolute">{images}</svg>'
        return html + (hidden if images else "")

    def _id(self, image: Mapping[str, Any]) -> str:
        """Return the name on the page of an image: the card's, and its file's."""
        return f"{self.name}-{image['file'].removesuffix('.jpg')}"

    def _is_own_file(self, region: Mapping[str, Any]) -> bool:
        """Return True for a crop that is a file, not a box in the picture."""
        picture = self.post["picture"]
        return "file" in region and (picture is None or region["file"] != picture["file"])

    def _crops(self) -> list[Crop]:
        """Return the crops that are boxes in the picture; their numbers are those in names."""
        crops = [region for region in self.post["regions"] if region["name"] != WHOLE]
        return [
            Crop(
                number,
                (len(self.colours) + number - 1) % len(COLOURS),
                Region(region["phrase"], tuple(region["box"]), region["score"], None, ""),
                None,
            )
            for number, region in enumerate(crops, start=1)
            if region["box"] is not None and not self._is_own_file(region)
        ]

    # --- attention

    def _attention(self) -> str:
        regions, asked = self.post.get("regions"), self.post.get("attention")
        if not regions or not asked:
            return ""
        shares = [np.array(part["layers"]) for part in asked]  # of (L, R, hw)
        most = max(float(layers.mean(0).max()) for layers in shares)
        even = self.post["even"] * shares[0].shape[1] * shares[0].shape[2]
        names = [f"{part['of']}: {part['text']}" for part in asked]
        rows = [
            self._parts(name, layers.mean(0), even, most)
            for name, layers in zip(names, shares, strict=True)
        ]
        tables = [
            heat_table(
                name,
                [region["name"] for region in regions],
                [(f"layer {n}", layer) for n, layer in enumerate(layers.sum(-1).tolist(), start=1)],
                digits=3,
            )
            for name, layers in zip(names, shares, strict=True)
        ]
        return (
            f"{''.join(rows)}<details><summary>attention by layer</summary>"
            f'<div class="heats">{"".join(tables)}</div></details>'
        )

    def _parts(self, name: str, shares: np.ndarray, even: float, most: float) -> str:
        """Show the regions with an entity's attention to them. shares: (R, hw)."""
        run = self.results["runs"][self.results["looking"]]
        figures = ""
        for region, values in zip(self.post["regions"], shares, strict=True):
            side = math.isqrt(len(values))
            grid = [] if run["style"] == RELEASED else values.reshape(side, side).tolist()
            if "kept" in region:
                shown = cells.part(self._id(region), region["kept"], grid, most)
            else:
                numbers = "<br>".join(" ".join(f"{value:.3f}" for value in row) for row in grid)
                shown = f'<p class="soft">{numbers}</p>'
            figures += (
                f"<figure>{shown}<figcaption>{escape(region['name'])} <b>{values.sum():.3f}</b>"
                "</figcaption></figure>"
            )
        total = f"{shares.sum():.3f} to the regions, even {even:.3f}"
        return (
            f'<div class="parts"><h3><bdi>{escape(name)}</bdi> <span class="soft">{total}</span>'
            f"</h3>{figures}</div>"
        )
