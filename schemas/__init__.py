"""The versioned contract between `generate`, which writes a run, and `ibstats`, which reads it.

Models are pydantic; `python -m schemas` writes them as JSON Schema beside this file, and a test
holds the two together. Nothing here imports either package.
"""

from schemas.moved import redirect

redirect()
