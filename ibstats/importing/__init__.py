"""Samples made elsewhere become a run: a folder of images, of token grids, or of both.

    spec = Spec(images="{condition}/{prompt}/{sample}.png", baseline="sample")
    found = survey(spec, Path("out"))                       # looks, and writes nothing
    write(found, Path("runs/theirs"))                       # whole or not at all

Files are copied into the store, so the run does not depend on the folder. What a sampling loop
draws goes into a run by a `Recorder`, arrays by `from_arrays`. Nothing here needs torch.
"""

from ibstats.importing.making import Outcome, write
from ibstats.importing.reading import Source
from ibstats.importing.recorder import Recorder, from_arrays
from ibstats.importing.rows import import_rows, row_files, told
from ibstats.importing.spec import Spec, asked, read_spec
from ibstats.importing.survey import Found, survey

__all__ = [
    "Found",
    "Outcome",
    "Recorder",
    "Source",
    "Spec",
    "asked",
    "from_arrays",
    "import_rows",
    "read_spec",
    "row_files",
    "survey",
    "told",
    "write",
]
