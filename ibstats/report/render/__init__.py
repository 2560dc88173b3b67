"""Renderers of tables, one file each: they know cells and columns, and no topic."""
