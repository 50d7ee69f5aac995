"""One TOML a published row: see ``fgvr.reproduce.recipe`` for what it holds and ``fgvr reproduce --list``."""
