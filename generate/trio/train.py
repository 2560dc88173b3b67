"""The recipe: all weights of the trio from nothing.

    python -m generate.trio.train --out runs/trio

Stages run one after another: tokenizer, reference, causal, masked. Each may be run alone,
resumes from its checkpoint in the output folder and writes half-precision weights to the export
folder. The default times are for two CPU cores; a faster machine sees more scenes in the same time.
"""

import argparse
from pathlib import Path

import torch

from generate.trio import weights
from generate.trio.stage_reference import fit_reference
from generate.trio.stage_tokenizer import fit_tokenizer
from generate.trio.stage_transformer import fit_transformer

MINUTES = {"tokenizer": 18.0, "reference": 4.0, "causal": 30.0, "masked": 35.0}


def run_stage(stage: str, *, out: Path, export: Path, minutes: float) -> None:
    """Run one stage, a key of `MINUTES`, to its end.

    Checkpoints lie in `out`, and finished weights in `export`, where later stages look for the
    tokenizer. A finished stage only exports again. Raises FileNotFoundError where the tokenizer is
    needed and not there.
    """
    tokenizer = export / "tokenizer.safetensors"
    target = export / f"{stage}.safetensors"
    match stage:
        case "tokenizer":
            fit_tokenizer(out, minutes=minutes, export=target)
        case "reference":
            fit_reference(out, minutes=minutes, tokenizer=tokenizer, export=target)
        case "causal" | "masked":
            fit_transformer(
                out, causal=stage == "causal", minutes=minutes, tokenizer=tokenizer, export=target
            )


def main() -> None:
    """Read the command line and run the stages asked for, one after another.

    An interrupted run goes on where it was when it is started again.
    """
    parser = argparse.ArgumentParser(
        prog="python -m generate.trio.train", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument(
        "--export", type=Path, default=weights.SHIPPED, help="folder of the finished weights"
    )
    parser.add_argument("--stage", choices=["all", *MINUTES], default="all")
    parser.add_argument("--minutes", type=float, help="time of the stage (default: as shipped)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    chosen = parser.parse_args()
    if chosen.minutes is not None and chosen.stage == "all":
        parser.error("--minutes needs a single --stage")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    for stage in MINUTES if chosen.stage == "all" else [chosen.stage]:
        run_stage(
            stage, out=chosen.out, export=chosen.export, minutes=chosen.minutes or MINUTES[stage]
        )


if __name__ == "__main__":
    main()
