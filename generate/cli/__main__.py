"""`python -m generate.cli` is `ibgenerate`."""

from generate.cli import main

if __name__ == "__main__":
    main()
