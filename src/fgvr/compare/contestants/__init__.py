"""The methods that are more than a baseline, as contestants of a comparison: one file each."""
