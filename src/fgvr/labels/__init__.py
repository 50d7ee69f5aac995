"""Replies to names, names to a label space: the one home of reading and comparing free-text names."""

from fgvr.labels.doubts import instruction_like as instruction_like
from fgvr.labels.doubts import suspicion as suspicion
from fgvr.labels.merge import LabelSpace as LabelSpace
from fgvr.labels.merge import Merge as Merge
from fgvr.labels.merge import merge_synonyms as merge_synonyms
from fgvr.labels.normalise import display_name as display_name
from fgvr.labels.normalise import normalise as normalise
from fgvr.labels.parse import parse_reply as parse_reply

__all__ = [
    "LabelSpace",
    "Merge",
    "display_name",
    "instruction_like",
    "merge_synonyms",
    "normalise",
    "parse_reply",
    "suspicion",
]
