"""The student where each call draws several replies: how the many more names tell on its time.

Protocol: As the student by size of the pool, except that a call gives ten names with their probabilities, six of them
of no class. Medians of three runs for 3,000 images, one run above.
"""

from __future__ import annotations

import argparse

from benchmarks.common import table, write_section
from benchmarks.student import HEADER, QUICK, REPEATED, rows_of

SIZES = ((3_000, 0.1), (3_000, 1.0), (10_000, 0.1))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small size; writes nothing")
    quick = parser.parse_args().quick
    parts = [(__doc__ or "").split("Protocol: ")[1]]
    for title, every in (("Default, seconds:", False), ("Every part, seconds:", True)):
        sizes = [size for size in (QUICK if quick else SIZES) if not every or size[0] <= REPEATED]
        rows = rows_of(sizes, every=every, repeats=1 if quick else 3, several=True)[:-1]  # no exponent of so few
        parts.append(f"{title}\n\n{table(HEADER, rows)}")
    body = "\n\n".join(parts)
    print(body)
    if not quick:
        write_section("student_replies", "The student with several replies a call", body)


if __name__ == "__main__":
    main()
