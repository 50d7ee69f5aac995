"""The recorded benchmark: real MLLM labels on real CLIP features of the same images, no picture and no model needed."""
