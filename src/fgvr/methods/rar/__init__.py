"""RAR: retrieve likely classes from a memory, let an MLLM rank them where that helps.

Base text: Liu et al., "RAR: Retrieving And Ranking Augmented MLLMs for Visual Recognition". ``pipeline.py`` reads like
its Figure 2; every idea has a file named by the paper's word. Importing this does not import torch.
"""

from fgvr.methods.rar.candidates import Candidates as Candidates
from fgvr.methods.rar.estimator import RAR as RAR
from fgvr.methods.rar.fuse import fuse as fuse
from fgvr.methods.rar.parse import parse_ranking as parse_ranking
from fgvr.methods.rar.pipeline import RarSettings as RarSettings
from fgvr.methods.rar.rank import Ranking as Ranking
from fgvr.methods.rar.rank import RankSettings as RankSettings
from fgvr.methods.rar.rank import rank as rank
from fgvr.methods.rar.recogniser import Recogniser as Recogniser
from fgvr.methods.rar.record import Recognised as Recognised
from fgvr.methods.rar.retrieve import AS_DESCRIBED as AS_DESCRIBED
from fgvr.methods.rar.retrieve import AS_RELEASED as AS_RELEASED
from fgvr.methods.rar.retrieve import RetrieveSettings as RetrieveSettings
from fgvr.methods.rar.retrieve import retrieve as retrieve
