"""The attention of a post's entities to the positions of its picture and crops (HVPNeT, Eq. 9)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features.grounding import Region
from features.pictures import Box, PictureError, Preparation, kept_area, open_picture
from model.hvpnet.variants import RELEASED
from pipeline.corpus.labels import entities_of
from pipeline.corpus.post import Post
from pipeline.experiments.opened import OpenRun
from pipeline.extraction.config import PictureFiles
from pipeline.pages.drawing import PICTURE, jpeg_of
from pipeline.prediction.page import region_name
from pipeline.prediction.prediction import PICTURE as WHOLE
from pipeline.prediction.prediction import USED
from pipeline.training.encode import Encoded

DIGITS = 5  # decimals in files
CROP = 240  # longest side of a stored crop, pixels


def attention_of(opened: OpenRun, number: int, post: Post) -> dict[str, Any]:
    """Return `even` and `attention` of a post, in JSON types; empty if the model can't read it.

    even: the share of each position if a token attended to all positions and tokens alike.
    attention: for head and tail, at their opening markers, or for each gold entity, the mean over
        the first pieces of its words: `of`, its name or label, its `text`, and `layers`: (L, R, hw)
        shares, averaged over heads, of the regions in `regions_of`.
    """
    saved = opened.forward.saved
    encoded = saved.encode({number: post})
    if not encoded:
        return {}
    encoded = saved.with_texts(encoded, opened.texts)
    attention = opened.forward.attention_to_regions(encoded, opened.pictures.pyramids)
    shares = attention[:, 0].double().numpy()  # (L, T, R, hw)
    slots = opened.slots(number)
    parts = []
    for of, text, places in _asked(saved.head.name, post, encoded[0]):
        layers = shares[:, places][..., slots, :].mean(1)
        parts.append({"of": of, "text": text, "layers": layers.round(DIGITS).tolist()})
    tokens, positions = len(encoded[0].input_ids), shares.shape[-1]
    # In style released, absent crops are attended too.
    read = shares.shape[-2] - opened.first if saved.config.style == RELEASED else len(slots)
    attended = read * positions + tokens
    return {"even": round(1 / attended, DIGITS), "attention": parts}


def _asked(task: str, post: Post, encoded: Encoded) -> Iterator[tuple[str, str, list[int]]]:
    """Yield name or label, text, and places of the tokens whose attention is shown."""
    if task == "re":
        assert post.head is not None, post.id
        assert post.tail is not None, post.id
        ends = (("head", post.head), ("tail", post.tail))
        for (of, span), place in zip(ends, encoded.positions, strict=True):
            yield of, " ".join(post.tokens[slice(*span)]), [place]
        return
    for label, start, end in entities_of(post.tags or ()):
        words = encoded.words[start:end]
        if places := [encoded.positions[token] for token in words if token >= 0]:
            yield label, " ".join(post.tokens[start:end]), places


def regions_of(
    opened: OpenRun, number: int, files: PictureFiles, folder: Path, rank: int
) -> dict[str, Any]:
    """Return a post's regions in JSON types, and write their images into `folder`.

    rank: of the post among those shown; it names the images.

    Returns `status`: the post's picture_status; `picture`: None, or the `file` of the image and the
    `size` of the picture in pixels; and `regions`, those that the model reads: name, phrase, score,
    box, and, if the image can be shown, `file` and `size` as above and `kept`: the part in pixels
    that the backbone reads.
    """
    pictures, line = opened.pictures, opened.pictures.lines[number]
    picture, status = None, pictures.status(number)
    if status == USED:
        picture = _stored(files.root / str(line.picture), folder / f"{rank}.jpg", PICTURE)
    preparation = Preparation(files.config.resize, files.config.size)
    regions: list[dict[str, Any]] = []
    crops = 0
    for slot in opened.slots(number):
        if slot == 0:
            whole = Region(None, None, None, None, "")
            regions.append(_region(WHOLE, whole, picture, preparation))
            continue
        region, image = line.regions[slot - 1], picture
        if region.file is not None:
            image = _stored(files.root / region.file, folder / f"{rank}-{slot}.jpg", CROP)
        regions.append(_region(region_name(crops), region, image, preparation))
        crops += 1
    return {"status": status, "picture": picture, "regions": regions}


def _stored(source: Path, target: Path, longest: int) -> dict[str, Any] | None:
    """Write a small JPEG of a picture; return its name and the picture's size, or None."""
    try:
        picture = open_picture(source)
    except PictureError:  # its row is in the store: the file was changed since
        return None
    target.write_bytes(jpeg_of(picture, longest))
    return {"file": target.name, "size": [*picture.size]}


def _region(
    name: str, region: Region, image: dict[str, Any] | None, preparation: Preparation
) -> dict[str, Any]:
    box: Box | None = region.box
    fields = {
        "name": name,
        "phrase": region.phrase,
        "score": region.score,
        "box": None if box is None else [*box],
    }
    if image is None:
        return fields
    try:
        kept = kept_area(tuple(image["size"]), box, preparation)
    except PictureError:  # the file was changed since
        return fields
    return fields | image | {"kept": [round(side, 2) for side in kept]}
