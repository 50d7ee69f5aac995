"""Search among features, exact (the default and the oracle) and by HNSW; the memory that RAR retrieves from."""

from fgvr.memory.exact import nearest_others as nearest_others
from fgvr.memory.memory import Memory as Memory
from fgvr.memory.memory import Rows as Rows
from fgvr.memory.search import Exact as Exact
from fgvr.memory.search import Recall as Recall
from fgvr.memory.search import Searcher as Searcher
from fgvr.memory.search import nearest as nearest
from fgvr.memory.search import recall as recall
