"""The recipe: all weights of the trio from nothing.

    python -m generate.trio.train --out runs/trio

Stages run one after another: tokenizer, reference, causal, masked, those of the lab of quantizers,
tokenizers and priors, and those of the next-scale member, tokenizer-scales and scales. Each may be
run alone, resumes from its checkpoint in the output folder and writes half-precision weights to the
export folder. The first four and the last end after a time; the defaults are for two CPU cores, and
a faster machine sees more scenes in the same time. The others end after steps, so that what is
compared is comparable wherever it was trained. Two more, dials and heads, are of comparisons in
docs/quantizers.md: they run only when asked for, and their weights stay in the output folder.
"""

import argparse
from pathlib import Path

import torch

from generate.trio import weights
from generate.trio.stage_quantizers import fit_dials, fit_heads, fit_priors, fit_tokenizers
from generate.trio.stage_reference import fit_reference
from generate.trio.stage_scales import fit_scale_tokenizer, fit_scales
from generate.trio.stage_tokenizer import fit_tokenizer
from generate.trio.stage_transformer import fit_transformer

MINUTES = {"tokenizer": 18.0, "reference": 4.0, "causal": 30.0, "masked": 35.0, "scales": 50.0}
STEPS = {
    "tokenizers": 2_000,
    "priors": 1_100,
    "tokenizer-scales": 1_500,
    "dials": 1_000,
    "heads": 1_100,
}
STAGES = (
    "tokenizer",
    "reference",
    "causal",
    "masked",
    "tokenizers",
    "priors",
    "tokenizer-scales",
    "scales",
)
CONTROLS = ("dials", "heads")
"""Stages whose weights are not shipped and stay in the output folder."""


def run_stage(stage: str, *, out: Path, export: Path, amount: float, seed: int = 1) -> None:
    """Run one of `STAGES` or `CONTROLS` to its end.

    That is after an `amount` of minutes or, for those of `STEPS`, of steps. `seed` is that of the
    lab's tokenizers, whose training may be repeated.

    Checkpoints lie in `out`, and finished weights in `export`, where later stages look for the
    tokenizer. A finished stage only exports again. Raises FileNotFoundError where the tokenizer is
    needed and not there.
    """
    tokenizer = export / "tokenizer.safetensors"
    target = export / f"{stage}.safetensors"
    match stage:
        case "tokenizer":
            fit_tokenizer(out, minutes=amount, export=target)
        case "reference":
            fit_reference(out, minutes=amount, tokenizer=tokenizer, export=target)
        case "causal" | "masked":
            fit_transformer(
                out, causal=stage == "causal", minutes=amount, tokenizer=tokenizer, export=target
            )
        case "tokenizers":
            fit_tokenizers(out, length=int(amount), seed=seed, export=export)
        case "dials":
            fit_dials(out, length=int(amount), seed=seed)
        case "heads":
            fit_heads(out, length=int(amount), tokenizers=export)
        case "priors":
            fit_priors(out, length=int(amount), tokenizers=export, export=export)
        case "tokenizer-scales":
            fit_scale_tokenizer(out, length=int(amount), tokenizer=tokenizer, export=target)
        case "scales":
            fit_scales(
                out,
                minutes=amount,
                tokenizer=export / "tokenizer-scales.safetensors",
                start=export / "masked.safetensors",
                export=target,
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
    parser.add_argument("--stage", choices=["all", *STAGES, *CONTROLS], default="all")
    parser.add_argument("--minutes", type=float, help="time of the stage (default: as shipped)")
    parser.add_argument(
        "--steps", type=int, help="steps of a stage that ends after steps (default: as shipped)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the lab's tokenizers")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    chosen = parser.parse_args()
    if chosen.minutes is not None and chosen.stage not in MINUTES:
        parser.error(f"--minutes needs a single --stage: {', '.join(MINUTES)}")
    if chosen.steps is not None and chosen.stage not in STEPS:
        parser.error(f"--steps needs a single --stage: {', '.join(STEPS)}")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    for stage in STAGES if chosen.stage == "all" else [chosen.stage]:
        amount = chosen.minutes or chosen.steps or (MINUTES | STEPS)[stage]
        run_stage(stage, out=chosen.out, export=chosen.export, amount=amount, seed=chosen.seed)


if __name__ == "__main__":
    main()
