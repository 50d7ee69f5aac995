"""The field guide: a small drawn world with its own dual encoder and MLLM, for demonstration and tests.

Importing this package draws nothing and loads nothing; see ``guide`` for the species, ``dataset`` for image folders
and ``weights_folder`` for the two models.
"""

from fgvr.fieldguide.weights import weights_folder as weights_folder

__all__ = ["weights_folder"]
