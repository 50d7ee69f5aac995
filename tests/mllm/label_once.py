"""Run as a process of its own, to be killed: label items through a slow server.

Arguments: URL, ledger, count and, for a run under a spending cap, the cap in dollars.
"""

import sys

from fgvr.mllm import Budget, Parameters, Price, Request, ask_all, spent_in
from fgvr.mllm.openai_http import OpenAIMllm
from fgvr.runs.ledger import Ledger

PRICE = Price(1.0, 50.0)
MAX_TOKENS = 4

if __name__ == "__main__":
    url, path, count, *cap = sys.argv[1:]
    ledger = Ledger(path)
    answers = ask_all(
        [Request(f"i{index}", f"question {index}", parameters=Parameters(MAX_TOKENS)) for index in range(int(count))],
        OpenAIMllm("m", base_url=url, timeout=10),
        ledger=ledger,
        concurrency=4,
        budget=Budget(float(cap[0]), spent=spent_in(ledger)) if cap else None,
        prices={"m": PRICE} if cap else None,
    )
    sys.exit(3 if answers.stopped == "budget" else 0)
