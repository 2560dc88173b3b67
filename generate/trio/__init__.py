"""The reference trio: captioned scenes, a tokenizer, one transformer with two sets of weights."""
