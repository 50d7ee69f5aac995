"""RAR end to end, as in the paper's Figure 2: (a) a memory of embeddings; (b) retrieve the top-k classes, then rank.

Liu et al., "RAR: Retrieving And Ranking Augmented MLLMs for Visual Recognition", section 3; released code
Liuziyu77/RAR. Deviations and choices, numbered; the first alternative is the default:

1. *Memory.* The paper keeps images of the few-shot classes, or (detection) class names. Here both where there are both.
2. *Index.* Exact search. The paper's HNSW is an option with its recall printed; its "576 to 64 dimensions" is a
   misreading of the graph degree M = 64, nothing is reduced (``fgvr.memory.reduce``).
3. *Retrieval.* Distinct classes with calibrated probabilities; the code keeps duplicates, see ``retrieve.py``.
4. *k.* 5, and 4 where every class has exactly four images (section 4.1; the code has 5 there, too).
5. *Ranking.* The paper has the MLLM write a sorted list. Here the candidates are scored in one pass; writing, with the
   paper's prompt, is ``RankSettings(mode="generate")``; see ``rank.py`` and ``parse.py``.
6. *Decision.* In the paper the MLLM decides alone, which costs up to 24 points where it does not know the names. Here
   its word has a weight, learned on images left out of the memory, and none where it does not help; ``fuse.py``,
   ``worth.py``.
7. *Calls.* The paper asks about every image. Here only where retrieval is in doubt; ``cascade.py``.
8. *Probabilities and "unknown".* Not in the paper; see ``rules.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.encoders.zero_shot import text_classifier
from fgvr.memory import Memory
from fgvr.methods.rar.asking import Said
from fgvr.methods.rar.calibration import LeftOut, leave_out, unlabelled
from fgvr.methods.rar.cascade import choose_threshold, curve, margins
from fgvr.methods.rar.fit_retrieval import FittedRetrieval, fit_retrieval
from fgvr.methods.rar.fuse import Weight, fuse, position_of
from fgvr.methods.rar.rank import RankSettings
from fgvr.methods.rar.recogniser import Recogniser
from fgvr.methods.rar.retrieve import AS_DESCRIBED, AS_RELEASED, RetrieveSettings, candidates_for
from fgvr.methods.rar.retrieve_settings import resolved
from fgvr.methods.rar.rules import STRANGE_SHARE, UNKNOWN_SHARE, Asking, Rules, floors
from fgvr.methods.rar.worth import Worth, weigh

TEMPLATES = ("a photo of a {}.",)
DECIDES = 1e3
"""A weight at which the MLLM decides alone, as in the paper; retrieval breaks ties only."""
DEFAULT_MARGIN = 0.7
"""Where no labelled image tells how often retrieval errs at which margin."""


@dataclass(frozen=True)
class RarSettings:
    """Everything between the photographs and the recogniser."""

    retrieval: RetrieveSettings = field(default_factory=RetrieveSettings)
    calibrate: bool = True
    """Fit the retriever's temperatures and weights on the memory."""
    ranking: RankSettings = field(default_factory=RankSettings)
    text: bool = True
    """Keep the class names' text embeddings beside the images."""
    templates: tuple[str, ...] = TEMPLATES
    asking: Asking = "margin"
    margin: float | None = None
    """With ``asking = "margin"``; ``None`` chooses it on the left-out images."""
    tolerance: float = 0.005
    """Accuracy on left-out images that the cascade may lose against asking always."""
    weight: float | None = None
    """Of the MLLM; ``None`` learns it."""
    calibration: int | None = None
    """Memory images the MLLM is asked about to learn its worth; ``None``: ``ASKED`` or, where asking is free, more."""
    unknown_share: float = UNKNOWN_SHARE
    strange_share: float = STRANGE_SHARE

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)


def as_described(settings: RarSettings | None = None) -> RarSettings:
    """The paper's text: image memory, distinct classes, the MLLM writes a list for every image and decides alone."""
    return replace(_papers(settings), retrieval=AS_DESCRIBED)


def as_released(settings: RarSettings | None = None) -> RarSettings:
    """The released code: as described, but the labels of the nearest images with their repeats."""
    return replace(_papers(settings), retrieval=AS_RELEASED)


def _papers(settings: RarSettings | None) -> RarSettings:
    base = settings or RarSettings()
    written = replace(base.ranking, mode="generate")
    return replace(base, ranking=written, text=False, calibrate=False, asking="always", weight=DECIDES, calibration=0)


def with_k(settings: RarSettings, k: int | None, labels: np.ndarray) -> RarSettings:
    """Settings with ``k`` candidates; ``None``: the paper's choice for a memory with image ``labels`` (N,).

    Settings that say another k than the default keep it, and so does ``AS_RELEASED``.
    """
    free = settings.retrieval.k == RetrieveSettings.k and settings.retrieval.distinct
    shots = np.unique(np.bincount(labels)) if len(labels) else np.empty(0)
    found = candidates_for(int(shots[0])) if free and len(shots) == 1 else settings.retrieval.k
    return replace(settings, retrieval=replace(settings.retrieval, k=found if k is None else k))


def to_ask(settings: RarSettings, *, free: bool = False) -> int:
    """Left-out images the MLLM is asked about at most: none where nothing is left to learn from its answers.

    ``free``: its answers cost no money.
    """
    said = settings.weight is not None and (settings.asking == "always" or settings.margin is not None)
    most = settings.calibration if settings.calibration is not None else ASKED_FREELY if free else ASKED
    return 0 if settings.asking == "never" or settings.weight == 0 or said else most


# --- (a) the memory ---------------------------------------------------------------------------------------------------


def build_memory(
    encoder: DualEncoder,
    *,
    features: np.ndarray,
    labels: Sequence[str],
    sources: Sequence[str],
    hashes: Sequence[str],
    names: Sequence[str] = (),
    text: bool = True,
    templates: Sequence[str] = TEMPLATES,
) -> Memory:
    """Embeddings of labelled images (N, D), and of the class names unless ``text`` is off.

    ``names``: further classes, known by name alone (kept whatever ``text`` says). Equal pictures of a class count once.
    """
    memory = Memory.create(encoder.name, encoder.fingerprint, encoder.dim, encoder.logit_scale)
    if len(features):
        memory.add("image", labels, features, sources=sources, hashes=hashes)
    every = dict.fromkeys((*memory.names, *names))
    spoken = [name for name in every if text or name not in memory.names]
    if spoken:
        memory.add("text", spoken, text_classifier(encoder, spoken, templates=templates), sources=spoken)
    return memory


# --- (b) retrieve and rank: what is learned beforehand ----------------------------------------------------------------

Ask = Callable[[LeftOut], Said]
"""Puts left-out images and their candidates before the MLLM."""
ASKED, ASKED_FREELY = 300, 2000
"""Left-out images a service, or a local model, is asked about unless said otherwise."""
FLOOR_IMAGES = 1000
"""Left-out images that the thresholds of "unknown" rest on where no MLLM has to be asked about them."""


def learn(
    memory: Memory,
    settings: RarSettings,
    *,
    ask: Ask | None = None,
    labelled: bool = True,
    others: tuple[np.ndarray, Sequence[str]] | None = None,
    mllm: str = "",
    free: bool = False,
    seed: int = 0,
) -> Recogniser:
    """Calibrate the retriever, then the rules of fusion, cascade and "unknown", all on images left out of the memory.

    Args:
        ask: ``None`` retrieves only.
        labelled: the memory's classes are true, not names an MLLM gave.
        others: unlabelled pictures, features (N, D) and hashes, for a memory without images.
        mllm: whose word is weighed.
        free: its answers cost no money.
    """
    fitted = _fitted_retrieval(memory, settings, seed=seed)
    found = {key: value for key, value in asdict(fitted).items() if key != "settings"}
    notes = {"retrieval": found, "templates": list(settings.templates)}
    plain = Recogniser(memory, fitted.settings, Rules(), notes, settings.ranking)
    number = 0 if ask is None else to_ask(settings, free=free)
    wanted = number or FLOOR_IMAGES
    if len(memory.images):
        out = leave_out(memory, fitted.settings, most=wanted, labelled=labelled, seed=seed)
    elif others is not None and len(others[0]):
        out = unlabelled(memory, fitted.settings, *others, most=wanted, seed=seed)
    else:
        return replace(plain, rules=learn_rules(None, None, settings, names=(), asks=ask is not None, mllm=mllm))
    said = ask(out) if ask is not None and number else None
    rules = learn_rules(out, said, settings, asks=ask is not None, names=memory.names, mllm=mllm, seed=seed)
    return replace(plain, rules=_with_floors(replace(plain, rules=rules), out, said, settings))


def _fitted_retrieval(memory: Memory, settings: RarSettings, *, seed: int) -> FittedRetrieval:
    if not settings.calibrate:
        return FittedRetrieval(resolved(settings.retrieval, memory), "off", 0)
    return fit_retrieval(memory, settings.retrieval, seed=seed)


def _with_floors(recogniser: Recogniser, out: LeftOut, said: Said | None, settings: RarSettings) -> Rules:
    """The thresholds of "unknown"; none where the true class was put among the candidates by hand."""
    if out.basis == "truth in set" or not len(recogniser.memory.images):
        return recogniser.rules
    if said is not None:
        said = np.where(recogniser.asks(out.candidates)[:, None], said, np.nan)
    best = recogniser.probabilities(out.candidates, said).max(axis=1)
    shares = {"unknown_share": settings.unknown_share, "strange_share": settings.strange_share}
    low, far = floors(best, out.cosines, **shares)
    return replace(recogniser.rules, probability_floor=low, cosine_floor=far)


def learn_rules(
    out: LeftOut | None,
    said: Said | None,
    settings: RarSettings,
    *,
    asks: bool,
    names: Sequence[str] = (),
    mllm: str = "",
    seed: int = 0,
) -> Rules:
    """What the MLLM's word is worth, and the margin below which it is asked; ``said`` (N, k) belongs to ``out``.

    ``names``: of all classes.
    """
    if not asks or settings.asking == "never":
        return Rules()
    margin = DEFAULT_MARGIN if settings.margin is None else settings.margin
    base = Rules(asking=settings.asking, margin=margin, mllm=mllm)
    if settings.weight is not None:
        base = replace(base, weight=settings.weight, weight_from="given")
    answered = np.isfinite(said).any(axis=1) if said is not None else np.zeros(0, dtype=bool)
    if out is None or said is None or not answered.any():
        return base if settings.weight is not None else replace(base, asking="never")
    out = replace(out, candidates=out.candidates.rows(answered), truth=out.truth[answered])
    said = said[answered]
    worth, rules = Worth(Weight(settings.weight or 0.0, images=len(said))), base
    if settings.weight is None:
        worth = weigh(out.candidates, said, out.truth, basis=out.basis, num_classes=len(names), seed=seed)
        heard = None if worth.known is None else tuple(np.array(names, dtype=object)[worth.known])
        rules = replace(base, weight=worth.weight.weight, temperature=worth.weight.temperature)
        rules = replace(rules, weight_from=out.basis, heard=heard)
    rules = replace(rules, study={"learned": asdict(worth.weight)})
    if out.basis != "leave-one-out":
        return rules
    return _with_cascade(rules, worth, out, said, settings)


def _with_cascade(rules: Rules, worth: Worth, out: LeftOut, said: Said, settings: RarSettings) -> Rules:
    """The margin below which asking pays, chosen on the left-out images."""
    position, retrieved = position_of(out.candidates.classes, out.truth), out.candidates.log_probs
    fused = fuse(retrieved, said, worth.weight.weight, temperature=worth.weight.temperature)
    hears, alone = worth.hears(out.candidates), position == retrieved.argmax(axis=1)
    both = np.where(hears, fused.argmax(axis=1) == position, alone)
    doubt = np.where(hears, margins(retrieved), 1.0)  # the others are never asked about
    rules = replace(rules, study={**rules.study, "cascade": curve(doubt, alone, both, tolerance=settings.tolerance)})
    if settings.margin is not None or rules.weight == 0:
        return rules
    return replace(rules, margin=choose_threshold(doubt, alone, both, tolerance=settings.tolerance).threshold)
