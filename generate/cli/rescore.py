"""The command `rescore`: bounds on what the path hides, from the stored tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from generate.cli.console import log, out, shown
from generate.cli.options import Device, Progress, RunArgument
from generate.errors import GenerateError
from schemas.device import pick_device
from schemas.progress import Shown


def rescore(
    run_dir: RunArgument,
    paths: Annotated[
        int, typer.Option(help="Proposed paths per image; bounds tighten with them.")
    ] = 8,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model of the run; repeat for more. Default all with a path."),
    ] = None,
    experiment: Annotated[str, typer.Option(help="Experiment of the run.")] = "factorial",
    condition: Annotated[
        list[str] | None,
        typer.Option(help="Condition; repeat for more. Default the one without intervention."),
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(min=1, help="The first so many prompts; default all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the proposed paths.")] = 0,
    contrast: Annotated[
        str | None,
        typer.Option(
            help="Score the images under other texts too: study (the run's prompts), wordings (of the own "
            "prompt), empty (no text), or a number of other prompts. `ibstats information` reads it."
        ),
    ] = None,
    device: Device = "auto",
    progress: Progress = Shown.auto,
) -> None:
    """Bound H(Z|X) and the residual H(P|Z,X): score the stored tokens along more paths.

    With --contrast measure what whole images tell of their prompt, of models with a fixed order too.
    The result lies in RUN/rescored; what is scored already is not scored again.
    """
    from generate.run import rescore as scorer
    from generate.run.contrasts import parse_contrast
    from generate.store.samples import SampleStore

    store = SampleStore.open(run_dir)
    asked = "" if contrast is None else parse_contrast(contrast)
    chosen = model or (list(store.run.models) if asked else scorer.with_a_path(store.run))
    if not chosen:
        raise GenerateError(
            "every model of this run has a fixed order: nothing is to be rescored but under other "
            "texts (--contrast)."
        )
    with shown(progress) as bars:
        device = pick_device(device)
        plans = []
        for label in chosen:
            work = scorer.plan_rescoring(
                store,
                label,
                experiment=experiment,
                n_paths=paths,
                seed=seed,
                conditions=condition or (),
                n_prompts=prompts,
                device=device,
                contrast=asked,
            )
            plans.append(work)
        for work in plans:
            log.print(work.cost(), soft_wrap=True)
        for work in plans:
            scorer.rescore(work, device=device, progress=bars.progress)
            out.print(f"{work}")
