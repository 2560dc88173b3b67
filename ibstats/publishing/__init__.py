"""A run as a folder that dataset hubs read: Parquet, a card, Croissant and RO-Crate metadata.

    terms = Terms.of("CC-BY-4.0", creator="A. Nobody")
    publish(open_store("runs/demo"), Path("demo-hub"), terms)

Samples are copied losslessly, with the prompts that are complete; what the card says of them are
the rows of an analysis.
"""

from ibstats.publishing.licences import LICENCES, Terms
from ibstats.publishing.making import Outcome, publish
from ibstats.publishing.publication import Publication
from ibstats.publishing.shards import Piece

__all__ = ["LICENCES", "Outcome", "Piece", "Publication", "Terms", "publish"]
