"""Parts of ``scripts/recorded_labels.py``: real recorded MLLM labels on real CLIP features, no picture and no model."""
