"""`python -m ibstats` is `ibstats`."""

from ibstats.cli import main

main()
