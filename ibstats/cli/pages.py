"""The page to look at everything: as a file, and served to the browser."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ibstats.cli.console import Run, say
from ibstats.errors import IbstatsError
from ibstats.options import Options, analysing


@analysing()
def page(
    run: Run,
    file: Annotated[
        Path | None, typer.Option("--out", help="The file; default RUN/results/report.html.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every prompt, however large the file becomes.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder to write instead: the page, and every image beside it."),
    ] = None,
    *,
    options: Options,
) -> None:
    """One page to look at everything: answer, images, charts, tables, every row; no network."""
    from ibstats.report.page import making
    from schemas.io.layout import ResultsFolder

    if bundle is not None and (everything or file is not None):
        raise IbstatsError("--bundle DIR writes every prompt into DIR; leave out --out and --all")
    store = options.open(run)
    content = making.content(store, options.settings(), options.machine())
    if bundle is not None:
        say(f"page: {making.write_bundle(content, bundle)}")
        return
    where = file or ResultsFolder(store.path).page
    making.write_page(content, where, everything=everything)
    say(f"page: {where}")


@analysing()
def view(
    run: Run,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of this machine; 0: any free one.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open it in the web browser.")] = True,
    *,
    options: Options,
) -> None:
    """The page in the browser, with every prompt and images in full size, until Ctrl-C."""
    from ibstats.report import serving
    from ibstats.report.page import making

    store = options.open(run)
    content = making.content(store, options.settings(), options.machine())
    with serving.server(content, port) as server, suppress(KeyboardInterrupt):
        say(f"page: {serving.address(server)} (Ctrl-C ends it)")
        if browser:
            webbrowser.open(serving.address(server))
        server.serve_forever()
