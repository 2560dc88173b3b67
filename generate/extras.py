"""Packages that only some parts of `ibgenerate` need, and the extras of the installation that bring them."""

from __future__ import annotations

EXTRAS = {
    "torch": "generate",
    "safetensors": "generate",
    "diffusers": "models",
    "transformers": "models",
    "huggingface_hub": "models",
    "tokenizers": "models",
    "ftfy": "models",
    "bs4": "models",
    "datasets": "prompts",
    "requests": "prompts",
}
"""The smallest extra that brings a package."""
