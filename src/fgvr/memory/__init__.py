"""Search among features: exact and blocked."""

from fgvr.memory.exact import nearest_others as nearest_others
