"""One page to look at everything of a run: answer, images, charts, tables, every row; one file, no network.

The tables are those of `ibstats.report.tables` as HTML, the charts tables with drawn intervals; what
moves is plain ES modules in `assets`. A page holds no date and no path of a machine: equal runs,
settings and versions make equal bytes.
"""
