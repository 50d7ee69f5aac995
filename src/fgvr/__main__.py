"""``python -m fgvr``."""

from fgvr.cli.main import main

if __name__ == "__main__":
    main()
