"""Dual encoders, the feature store they share, and the prompt-tunable text tower.

Importing this does not import torch: what needs it is imported when first used.
"""

from fgvr.encoders.base import DualEncoder as DualEncoder
from fgvr.encoders.base import PromptTower as PromptTower
from fgvr.encoders.hf import HfDualEncoder as HfDualEncoder
from fgvr.encoders.hf import load_encoder as load_encoder
from fgvr.encoders.store import FeatureStore as FeatureStore
from fgvr.encoders.store import FeatureTable as FeatureTable
from fgvr.encoders.views import crop_views as crop_views
from fgvr.encoders.zero_shot import text_classifier as text_classifier
from fgvr.encoders.zero_shot import zero_shot_logits as zero_shot_logits
