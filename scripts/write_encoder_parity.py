"""Store a few features of the embedded encoder, which ``fgvr doctor`` compares: after every training of it.

python scripts/write_encoder_parity.py
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from fgvr.encoders import load_encoder
from fgvr.encoders.loading import file_digest
from fgvr.fieldguide import parity, weights_folder
from fgvr.runs import write_json


def main() -> None:
    """Write ``parity.FILE``."""
    packages = ("torch", "transformers", "pillow", "numpy")
    made_with = {name: version(name) for name in packages} | {"machine": platform.machine(), "dtype": "float32"}
    weights = file_digest(weights_folder("encoder") / "model.safetensors")
    write_json(
        parity.FILE,
        parity.reference(load_encoder("fieldguide", device="cpu"), weights_sha256=weights, made_with=made_with),
    )
    print(parity.FILE)


if __name__ == "__main__":
    main()
