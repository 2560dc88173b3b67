"""Renderers of tables, one file each: they know cells and columns, and no topic."""

from ibstats.report.render.base import Renderer

__all__ = ["Renderer"]
