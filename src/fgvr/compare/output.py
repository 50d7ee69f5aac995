"""What a comparison leaves for people: the tables after every cell, the page at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fgvr.compare.collection import Collection, Draw
from fgvr.compare.differences import Difference, differences
from fgvr.compare.page import write_page
from fgvr.compare.row import Row
from fgvr.compare.run import Terms
from fgvr.compare.summary import lines
from fgvr.compare.table import write_tables

FEW = 3
"""Test images a class below which cACC says little: where each class has one image, a name for each image is right."""


@dataclass(frozen=True)
class Output:
    """Writes into a comparison's folder."""

    folder: Path
    collections: Sequence[Collection]
    terms: Terms
    draw: Draw
    against: str
    """The method that differences are to."""

    def write_tables(self, rows: Sequence[Row]) -> None:
        """``table.md``, ``table.csv``, ``rows.csv``, ``comparison.json``."""
        write_tables(self.folder, rows, lines(rows), self.differences(rows), self.protocol(rows))

    def write_page(self, rows: Sequence[Row]) -> Path:
        """``page.html``: one file, no network."""
        truth = {one.name: one.test for one in self.collections}
        return write_page(self.folder, rows, lines(rows), self.differences(rows), self.protocol(rows), truth)

    def differences(self, rows: Sequence[Row]) -> list[Difference]:
        """Every method minus ``against``."""
        truth = {one.name: one.test for one in self.collections}
        return differences(
            rows, self.against, root=self.folder, truth=truth, sentence_encoder=self.terms.sentence_encoder
        )

    def protocol(self, rows: Sequence[Row]) -> list[str]:
        """What every figure must state."""
        terms, seeds = self.terms, sorted({row.seed for row in rows})
        sentence = "left out" if terms.sentence_encoder is None else f"by {terms.sentence_encoder.name}"
        several = len(seeds) > 1
        said = [
            f"support: {self.draw.words()}; {'seeds' if several else 'seed'} {', '.join(map(str, seeds))}",
            f"encoder {terms.encoder.name} ({terms.encoder.fingerprint[:12]}), MLLM {terms.mllm.name}"
            + ("" if terms.llm is None else f", text steps by {terms.llm.name}"),
            f"sACC {sentence}, best accepted name; cACC by normalised name; accuracy: exact or accepted name",
            "± half of the 95 % t interval over draws; [bootstrap interval over images] where no draw changes a figure"
            if several
            else f"[95 % bootstrap interval over images, {terms.resamples} resamples]",
            "calls, tokens, money: as if the method ran alone; seconds: wall clock here, where answers may be shared",
            "unanswered images are left out of a figure, never counted as wrong",
        ]
        for one in self.collections:
            classes = len({item.label for item in one.test})
            said.append(
                f"{one.name}: {len(one.test)} test images of {classes} classes; {len(one.pool)} in the support pool"
            )
            if len(one.test) < FEW * classes:
                said.append(f"{one.name}: fewer than {FEW} test images a class: cACC flatters methods with many names")
            said += [f"{one.name}: {note}" for note in one.notes]
            if one.set_aside:
                said.append(f"{one.name}: {len(one.set_aside)} inputs were set aside")
        return said
