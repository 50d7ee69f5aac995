"""Run as a process of its own, to be killed: label items through a slow server. Arguments: URL, ledger, count."""

import sys

from fgvr.mllm import Request, ask_all
from fgvr.mllm.openai_http import OpenAIMllm
from fgvr.runs.ledger import Ledger

url, path, count = sys.argv[1:]
ask_all(
    [Request(f"i{index}", f"question {index}") for index in range(int(count))],
    OpenAIMllm("m", base_url=url, timeout=10),
    ledger=Ledger(path),
    concurrency=4,
)
