"""Methods side by side on the same images, splits, encoder, MLLM, metrics and allowance."""

from fgvr.compare.collection import Collection as Collection
from fgvr.compare.collection import Draw as Draw
from fgvr.compare.row import Row as Row
from fgvr.compare.run import Terms as Terms
from fgvr.compare.run import compare as compare
