"""CaSED: each image's name is looked for among the words of the captions most like it. No MLLM, no support set.

Conti et al., "Vocabulary-free Image Classification", NeurIPS 2023 (arXiv 2306.00917), section 3; code altndrr/vic::

    captions(x)   = the K captions nearest to I(x), near-duplicates removed
    words(x)      = what the filters leave of them (cased_words)
    p(w | x)      = alpha softmax_w(I(x) . T(w) / 0.07) + (1 - alpha) softmax_w(c(x) . T(w) / 0.07)

with c(x) the centroid of the captions' features. Paper, released code, and what is done here:

1. *alpha.* The class's default is 0.5, the released experiment's 0.7; here 0.7.
2. *Temperature.* The code divides by 0.07 whatever the encoder's own scale is; so does this.
3. *Database.* The paper searches captions of five web collections (several gigabytes). Here any text file or Parquet of
   captions; on the embedded world the field guide's own, and the notes say so (``fgvr.fieldguide.captions``).
4. *Search.* The code's index is approximate; here exact.
5. *Duplicates.* Of captions joined by a chain of similarities of at least 0.94 the nearest to the image stays, as in
   the code. Before that, equal lines of the database count once (``cased_captions``).
6. *Words.* The filters and where they differ: ``cased_words``. Single words as released; ``phrases`` adds several.

Every image has a vocabulary of its own. What is given back as the vocabulary is the union of all that was considered,
so its coverage of the truth bounds what could be named from above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.encoders.text_store import text_features
from fgvr.errors import InputError
from fgvr.memory.pieces import Pieces
from fgvr.memory.search import nearest
from fgvr.methods.baselines.cased_captions import Captions, gathered, read_captions
from fgvr.methods.baselines.cased_words import vocabulary, word_filters
from fgvr.methods.baselines.task import Naming, Task
from fgvr.wordnet import WordNet, find_wordnet

TITLE = "CaSED"
GUIDE_SEED = 1
"""Of the captions written for the embedded world."""


@dataclass(frozen=True)
class Settings:
    """Defaults are the released experiment's."""

    captions: int = 10
    """K."""
    alpha: float = 0.7
    """Weight of the image against the captions' centroid."""
    temperature: float = 0.07
    duplicates: float = 0.94
    """Cosine from which two captions say the same."""
    minimum: int = 2
    """Times a word occurs in an image's captions."""
    template: str = "{}"
    phrases: bool = False
    guide_captions: int = 10_000
    """How many captions are written for the embedded world."""


def calls(support: int, test: int, settings: Settings) -> int:
    """No questions."""
    return 0


def name_images(task: Task, settings: Settings) -> Naming:
    """Name the test images from captions. Raises ``InputError`` without captions, or for settings without sense."""
    _check(settings)
    database, source = _database(task, settings)
    vectors = _features(task, database.texts, "captions", "{}")
    queries = np.asarray(task.test.features)
    found, _ = nearest(queries, vectors, k=settings.captions)
    wordnet = _wordnet(task)
    singular, keep, ends = word_filters(wordnet)
    kept, centroids, words = [], [], []
    for row in found:
        rows, centroid = distinct(row[row >= 0], vectors, threshold=settings.duplicates)
        kept.append(len(rows))
        centroids.append(centroid)
        texts = [database.texts[one] for one in rows]
        phrases = ends if settings.phrases else None
        words.append(vocabulary(texts, singular=singular, keep=keep, minimum=settings.minimum, phrases=phrases))
    union = tuple(sorted({word for own in words for word in own}))
    names, chances = best_words(queries, np.stack(centroids), words, _word_table(task, union, settings), settings)
    return Naming(
        names=names,
        vocabulary=union,
        probabilities=chances,
        notes=(source, _filter_note(wordnet), "vocabulary: every word considered for any image"),
        figures={
            "captions": float(len(database.texts)),
            "captions skipped": float(database.skipped),
            "captions repeated": float(database.repeated),
            "captions an image": float(np.mean(kept)),
            "words an image": float(np.mean([len(own) for own in words])),
        },
    )


def distinct(rows: np.ndarray, vectors: Pieces, *, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The rows (n,) that stand for themselves, and the unit centroid (D,) of their vectors.

    Rows joined by a chain of cosines of at least ``threshold`` are one; its first row stays.
    """
    own = vectors.take(rows)
    alike = own.astype(np.float64) @ own.T.astype(np.float64) >= threshold
    group = np.arange(len(rows))
    for _ in rows:  # the lowest number travels along every chain; no chain is longer than there are rows
        group = np.where(alike | np.eye(len(rows), dtype=bool), group[None, :], len(rows)).min(axis=1)
    first = np.unique(group)
    mean = own[first].mean(axis=0)
    return rows[first], np.asarray(mean / max(float(np.linalg.norm(mean)), np.finfo(np.float32).tiny))


def best_words(
    queries: np.ndarray,
    centroids: np.ndarray,
    words: Sequence[Sequence[str]],
    table: dict[str, np.ndarray],
    settings: Settings,
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Each image's best word and its probability over the image's own words; the first of equals.

    Args:
        queries, centroids: (T, D), unit norm: of the images, and of their captions.
        words: T vocabularies, none of them empty.
        table: the feature (D,) of every word.
    """
    names, chances = [], []
    for query, centroid, own in zip(queries, centroids, words, strict=True):
        features = np.stack([table[word] for word in own])
        image, text = (_softmax(features @ one / settings.temperature) for one in (query, centroid))
        mixed = settings.alpha * image + (1 - settings.alpha) * text
        best = int(mixed.argmax())
        names.append(own[best])
        chances.append(float(min(mixed[best], 1.0)))
    return tuple(names), tuple(chances)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(powers / powers.sum())


def _check(settings: Settings) -> None:
    if settings.captions < 1 or settings.minimum < 1 or settings.guide_captions < 1:
        raise InputError("captions, minimum and guide_captions are at least 1", remedy="Correct the setting.")
    if not 0 <= settings.alpha <= 1 or not settings.temperature > 0:
        raise InputError("alpha lies in [0, 1], the temperature above 0", remedy="Correct the setting.")
    if "{}" not in settings.template:
        raise InputError("the template has no {}", remedy="Write the word's place as {}.", template=settings.template)


def _database(task: Task, settings: Settings) -> tuple[Captions, str]:
    """The captions, and a sentence on where they come from."""
    if task.material.captions is not None:
        captions = read_captions(task.material.captions)
        return captions, f"{len(captions.texts):,} captions of {task.material.captions.name}"
    if task.encoder.name != "fieldguide":
        raise InputError(
            "CaSED searches a database of captions, and none was given",
            remedy="Name a text file, one caption a line, or Parquet with a column named caption (--captions FILE).",
        )
    from fgvr.fieldguide.captions import field_guide_captions

    captions = gathered(field_guide_captions(settings.guide_captions, seed=GUIDE_SEED))
    return captions, (
        f"{len(captions.texts):,} captions of the field guide's own writer, which also wrote the embedded encoder's "
        "training texts (another seed)"
    )


def _wordnet(task: Task) -> WordNet | None:
    """WordNet where it is at hand; whoever names a folder wants that one."""
    try:
        return WordNet(find_wordnet(task.material.wordnet))
    except InputError:
        if task.material.wordnet is not None:
            raise
        return None


def _filter_note(wordnet: WordNet | None) -> str:
    if wordnet is None:
        return "words without content dropped; no WordNet at hand, so parts of speech not looked at"
    return "nouns, adjectives, participles of WordNet and words unknown to it (the paper: a part-of-speech tagger)"


def _features(task: Task, texts: Sequence[str], stage: str, template: str) -> Pieces:
    return text_features(
        texts,
        task.encoder,
        task.store.root / "texts",
        templates=(template,),
        progress=lambda done, total: task.report(stage, done, total),
    )


def _word_table(task: Task, words: Sequence[str], settings: Settings) -> dict[str, np.ndarray]:
    features = _features(task, words, "words", settings.template)
    return dict(zip(words, features.take(np.arange(len(words))), strict=True))
