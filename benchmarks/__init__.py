"""Speed and memory, measured. Each script writes its own section of ``docs/benchmarks.md``:

``python -m benchmarks.NAME`` from the root of the checkout; ``--quick`` for a smaller run that writes nothing.
"""
