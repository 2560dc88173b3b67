"""Where it is kept: the template of a run, its blocks, who works on them, and whether its bytes are whole."""
