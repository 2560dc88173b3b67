"""Prompt sets: base prompts with paraphrases of equal meaning."""

from generate.prompts.sources import load_prompts, overlap, prompts_digest, source_digest

__all__ = ["load_prompts", "overlap", "prompts_digest", "source_digest"]
