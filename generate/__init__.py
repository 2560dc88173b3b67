"""Sample images and latent token grids under the probes of a study, into a labelled store.

    from generate.run import prepare, run
    from generate.study import load_study, plan

    laid_out = plan(*load_study("study.yaml"))
    run(laid_out, prepare(laid_out, "runs/mine"))

is what `ibgenerate run study.yaml --out runs/mine` does.
"""

from schemas.moved import redirect

redirect()
