"""Results for people: rows, tables, files and figures."""
