"""Tests; consoles fix their width when they are made, so it is set before any is."""

import os

os.environ["COLUMNS"] = "200"
