"""What NeaR and RAR are compared with, one file a method, as in its paper; deviations are numbered in each file.

A method is a module with ``TITLE``, a frozen dataclass ``Settings`` (every field with a default) and
``name_images(task, settings) -> Naming``; see ``task.py``. Importing this does not import torch.
"""

from fgvr.methods.baselines.task import Naming as Naming
from fgvr.methods.baselines.task import Task as Task
