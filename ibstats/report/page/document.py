"""The page as one file: sections, data and script in a frame that lets nothing else run."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from string import Template
from typing import Any

from ibstats.report.page.script import asset, script
from schemas.version import __version__


@dataclass(frozen=True)
class Section:
    """A part of the page with a name to go to, a title and its content as HTML."""

    name: str
    title: str
    body: str


INSIDE = "img-src blob: data:"
BESIDE = "img-src blob: data: 'self' file:; connect-src 'self'"
"""What a page may load: nothing but itself, or files beside it too."""


def policy(*, beside: bool) -> str:
    """The page's Content-Security-Policy: its own style and script by their digests, no network."""
    allowed = INSIDE
    if beside:
        allowed = BESIDE
    return (
        f"default-src 'none'; script-src {_digest(script())}; style-src {_digest(asset('page.css'))}; "
        f"{allowed}; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def framed(
    title: str,
    about: str,
    sections: Sequence[Section],
    *,
    digest: str,
    galleries: dict[str, Any] | None,
    rows: dict[str, Any],
    pieces: str,
    footer: str,
    beside: bool,
) -> str:
    """The page as HTML text.

    Parameters: its title and a line about the run, as text; sections, `footer` as HTML; `digest`,
    of what it was made of; what the viewer knows of galleries, and rows of results, as JSON;
    `pieces` as base64, `beside` where they are files instead.
    """
    contents, bodies = [], []
    for section in sections:
        contents.append(f'<li><a href="#{section.name}">{escape(section.title)}</a></li>')
        heading = f"{section.name}-title"
        bodies.append(
            f'<section id="{section.name}" aria-labelledby="{heading}">\n'
            f'<h2 id="{heading}">{escape(section.title)}</h2>\n{section.body}\n</section>'
        )
        if section.name == "images":
            bodies.append('<section id="stars" aria-label="Contact sheet" hidden></section>')
    return Template(asset("page.html")).substitute(
        policy=escape(policy(beside=beside)),
        version=escape(__version__),
        digest=digest,
        title=escape(title),
        about=escape(about),
        style=asset("page.css"),
        contents="".join(contents),
        sections="\n".join(bodies),
        galleries="" if galleries is None else as_data(galleries),
        rows=as_data(rows),
        pieces=pieces,
        footer=footer,
        script=script(),
    )


def as_data(value: Any) -> str:
    """JSON that no HTML parser reads as anything else.

    >>> as_data({"a": "</script>"})
    '{"a":"\\\\u003c/script>"}'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
