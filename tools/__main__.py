"""``python -m scout40.tools`` is the program ``scout40``."""

from scout40.tools.cli import main

if __name__ == "__main__":
    main()
