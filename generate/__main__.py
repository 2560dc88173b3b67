"""`python -m generate` is `ibgenerate`."""

from generate.cli import main

main()
