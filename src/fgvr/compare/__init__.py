"""Methods side by side on the same images, splits, encoder, MLLM, metrics and allowance."""
