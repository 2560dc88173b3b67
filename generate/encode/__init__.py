"""Codes of real images: photos through a tokenizer, or ids that somebody has, become a run.

The run has one model, named for the tokenizer, one experiment and condition, both called `encoded`,
and one prompt, whose samples are the images. `ibstats codebook` reads it, and a study may take its
code counts (`calibration: {source: encoded}`).
"""
