"""`python -m ibstats.cli` is `ibstats`."""

from ibstats.cli import main

if __name__ == "__main__":
    main()
