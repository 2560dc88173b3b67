"""Caption cleaning as LlamaGen's language model was trained with.

The rules and their order are DeepFloyd's, as LlamaGen (language/t5.py, MIT) and diffusers
(pipeline_pixart_alpha.py, Apache-2.0) have them; what they do is part of the model, mistakes included.
"""

from __future__ import annotations

import html
import re
from urllib.parse import unquote_plus

from generate.errors import ModelError
from generate.extras import EXTRAS
from schemas.extras import lacking, package_of

DOMAIN = r"[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b\/?(?!@)"
ENDINGS = "(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4)"
DASHES = (
    r"[\u002D\u058A\u05BE\u1400\u1806\u2010-\u2015\u2E17\u2E1A\u2E3A\u2E3B\u2E40"
    r"\u301C\u3030\u30A0\uFE31\uFE32\uFE58\uFE63\uFF0D]+"
)

LINKS = (
    (r"<person>", "person"),
    (rf"\b((?:https?:(?:\/{{1,3}}|[a-zA-Z0-9%])|{DOMAIN}))", ""),
    (rf"\b((?:www:(?:\/{{1,3}}|[a-zA-Z0-9%])|{DOMAIN}))", ""),
)
"""First of all, while a caption may still hold tags."""

MARKS = (
    (r"@[\w\d]+\b", ""),  # nicknames
    (r"[\u31c0-\u31ef]+", ""),  # CJK strokes
    (r"[\u31f0-\u31ff]+", ""),  # Katakana phonetic extensions
    (r"[\u3200-\u32ff]+", ""),  # enclosed CJK letters and months
    (r"[\u3300-\u33ff]+", ""),  # CJK compatibility
    (r"[\u3400-\u4dbf]+", ""),  # CJK unified ideographs, extension A
    (r"[\u4dc0-\u4dff]+", ""),  # Yijing hexagram symbols
    (r"[\u4e00-\u9fff]+", ""),  # CJK unified ideographs
    (DASHES, "-"),
    (r"[`´«»“”¨]", '"'),
    (r"[‘’]", "'"),
    (r"&quot;?", ""),
    (r"&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),  # addresses of machines
    (r"\d:\d\d\s+$", ""),  # ids of articles
    (r"\\n", " "),
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"[\S]+\.{ENDINGS}", ""),  # names of files
    (r"[\"\']{2,}", '"'),
    (r"[\.]{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~\)\(\]\[\}\{\|\\/\*]{1,}", " "),
    (r"\s+\.\s+", " "),
)
"""After the tags are gone."""

LEFTOVERS = (
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),  # jc6640
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),  # jc6640vc
    (r"\b\d+[a-zA-Z]+\d+\b", ""),  # 6640vc231
    (r"(worldwide\s+)?(free\s+)?shipping", ""),
    (r"(free\s)?download(\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b{ENDINGS}(\simage[s]?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),  # j2d1a2a
    (r"\b\d+\.?\d*[xх×]\d+\.?\d*\b", ""),  # 10x20
    (r"\b\s+\:\s+", ": "),
    (r"(\D[,\./])\b", r"\1 "),
    (r"\s+", " "),
    (r"^[\"\']([\w\W]+)[\"\']$", r"\1"),
    (r"^[\'\_,\-\:;]", ""),
    (r"[\'\_,\-\:\-\+]$", ""),
    (r"^\.\S+$", ""),
)
"""Last, in repaired text."""


def clean_caption(text: str) -> str:
    """A caption in lower case, without links, brackets, long numbers and names of files.

    The rules are applied twice, as upstream does. Texts that differ in case or in such marks alone
    become equal. Raises ModelError where a module that the rules need is not installed.

    >>> clean_caption("A red cat (see https://example.org) on a MAT!")
    'a red cat see on a mat!'
    """
    return _once(_once(text))


def _once(text: str) -> str:
    try:
        from bs4 import BeautifulSoup
        from ftfy import fix_text
    except ModuleNotFoundError as error:
        raise ModelError(lacking("a caption", [package_of(error)], EXTRAS)) from None
    text = _replaced(unquote_plus(text).strip().lower(), LINKS)
    text = _replaced(BeautifulSoup(text, features="html.parser").text, MARKS)
    if len(re.findall(r"[-_]", text)) > 3:  # this-is-my-cute-cat
        text = re.sub(r"[-_]", " ", text)
    text = html.unescape(html.unescape(fix_text(text)))
    return _replaced(text, LEFTOVERS).strip()


def _replaced(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text
