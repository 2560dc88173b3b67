"""Caption cleaning as LlamaGen's language model was trained with."""

from __future__ import annotations

from generate.errors import ModelError


def clean_caption(text: str) -> str:
    """A caption in lower case, without links, brackets, long numbers, file names and other leftovers of web pages.

    DeepFloyd's rules, applied twice as upstream does (LlamaGen: language/t5.py); diffusers ships the very same ones.
    Texts that differ in case or in such marks alone become equal.
    """
    try:
        import bs4  # noqa: F401
        import ftfy  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModelError(
            f"captions need the module '{error.name}': install ibstats[models]."
        ) from None
    from diffusers import PixArtAlphaPipeline

    for _ in range(2):
        text = PixArtAlphaPipeline._clean_caption(PixArtAlphaPipeline, text)
    return text
