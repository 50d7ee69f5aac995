"""One folder a paper; no method imports another."""
