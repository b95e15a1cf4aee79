"""Which posts a task can be done on."""

from dataclasses import replace

from pipeline.corpus.post import Post
from pipeline.training.possible import repeated
from pipeline.training.train import HEADS

POST = Post("17#0", "test", ("Ada", "joins", "Globex"), head=(0, 1), tail=(2, 3))
POSTS = [
    POST,
    replace(POST, id="17#1"),
    replace(POST, id="17#2", tokens=("another", "sentence")),  # an id of somebody's own
    replace(POST, id="18#1"),  # no 18#0 is there
    replace(POST, id="plain"),
]


def test_a_sentence_with_several_relations_is_one_post_for_entities() -> None:
    assert repeated(POSTS) == {1}
    assert list(HEADS["ner"].readable(POSTS, "test")) == [0, 2, 3, 4]
    assert list(HEADS["re"].readable(POSTS, "test")) == [0, 1, 2, 3, 4]
