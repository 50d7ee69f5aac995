"""Fine-R1 (He et al., ICLR 2026): chain-of-thought fine-tuning, then triplet augmented policy optimisation (TAPO)."""
