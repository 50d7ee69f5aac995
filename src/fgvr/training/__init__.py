"""One small training loop on accelerate and peft, for every method that tunes an MLLM."""

from fgvr.training.checkpoint import load_checkpoint as load_checkpoint
from fgvr.training.checkpoint import save_checkpoint as save_checkpoint
from fgvr.training.collate import Batch as Batch
from fgvr.training.collate import Collator as Collator
from fgvr.training.loop import Trained as Trained
from fgvr.training.loop import TrainSettings as TrainSettings
from fgvr.training.loop import answer_loss as answer_loss
from fgvr.training.loop import answer_nll as answer_nll
from fgvr.training.loop import train as train
from fgvr.training.lora import LANGUAGE_LINEAR as LANGUAGE_LINEAR
from fgvr.training.lora import Lora as Lora
from fgvr.training.lora import base_of as base_of
from fgvr.training.lora import prepare_model as prepare_model
from fgvr.training.lora import save_adapter as save_adapter
from fgvr.training.lora import save_full as save_full
from fgvr.training.preflight import Preflight as Preflight
from fgvr.training.preflight import preflight as preflight
from fgvr.training.rows import TrainingRow as TrainingRow
from fgvr.training.rows import TrainingRows as TrainingRows
from fgvr.training.rows import read_rows as read_rows
from fgvr.training.rows import readable_rows as readable_rows
from fgvr.training.rows import write_rows as write_rows
