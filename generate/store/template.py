"""What a plan fixes before any block: conditions, texts, noise keys and codebook subsets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generate.study import noise, subset
from generate.study.conditions import Condition
from generate.study.planning import Plan
from generate.study.probes import texts_of_samples
from generate.study.reading import Reading
from generate.study.reading import texts as all_texts
from schemas.io.template import PER_BLOCK, Template, column
from schemas.provenance import CalibrationRecord, ModelIdentity
from schemas.store import RunRecord
from schemas.study import Prompt
from schemas.variables import VARIABLES

SETTINGS = (
    "sampling",
    "prompt_type",
    "codebook",
    "keep_ratio",
    "subset_method",
    "argmax_window",
    "paraphrase_length",
    "n_paraphrases",
    "subset_draw",
    "order",
    "path_noise",
    "entropy_bound",
)
"""What a condition says of itself, by the names of the store's coordinates."""
SHARED_NOISE = "all conditions and experiments of a prompt, by number of the draw"


def template(
    plan: Plan,
    run: RunRecord,
    model: str,
    experiment: str,
    calibration: CalibrationRecord | None,
    read: Sequence[Reading] | None,
) -> Template:
    """Give the template of one Dataset.

    `calibration` are the model's code counts, None where no condition needs them; `read` is what
    the model sees of every text of the plan, in their order, None where it cannot tell.
    """
    identity = run.models[model]
    cells, prompts = plan.experiments[experiment], plan.prompts_of(experiment)
    given = path_given(identity)
    images = run.study is not None and run.study.images
    fixed = {
        **condition_labels(cells, run.calibration_sha256.get(model, "")),
        **subset_labels(cells, calibration, plan.study.seed),
        **prompt_labels(prompts),
        **text_values(prompts, read),
        "text_index": text_index(cells, prompts, plan.n_samples(experiment)),
        **noise_keys(plan, experiment, rendering=identity.rendering),
        **code_values(cells, identity.codebook_size, calibration, plan.study.seed),
    }
    attributes = {
        "noise": noise.SCHEME,
        "noise_shared_by": SHARED_NOISE,
        "prompts_sha256": run.prompts_sha256,
        "block_prompts": run.experiments[experiment].block_prompts,
    }
    return Template(
        fixed=fixed,
        per_block=per_block(identity, images=images),
        attributes=attributes,
        variable_attributes={"path_surprisal": {"given": given}},
    )


def per_block(identity: ModelIdentity, *, images: bool) -> tuple[str, ...]:
    """Give the variables that blocks bring, in the order of the contract.

    They are those of the family's traces, and images if they are stored.
    """
    given = path_given(identity)
    present = {
        "image": images,
        "token_step": identity.family != "autoregressive",
        "path_surprisal": given != "",
        "joint_surprisal": given == "state",
        "recovered": False,  # of codes of real images alone
        "squared_error": False,
    }
    wanted = PER_BLOCK - {"complete"}
    return tuple(name for name in VARIABLES if name in wanted and present.get(name, True))


def path_given(identity: ModelIdentity) -> str:
    """Give what the stored `path_surprisal` of a model is conditioned on.

    `state`, `candidates`, or '' where there is none.
    """
    if identity.family == "diffusion":
        return "state"
    if identity.family != "masked":
        return ""
    recorded = str(identity.options.get("path_surprisal", "none"))
    return {"exact": "state", "given_candidates": "candidates"}.get(recorded, "")


def condition_labels(cells: Sequence[Condition], counts_sha256: str) -> dict[str, NDArray[Any]]:
    """Give names, levels and settings of the conditions, (condition,) each.

    `counts_sha256` is the digest of the calibration counts, recorded where they chose the codes.
    """
    labels = {"condition": column("condition", [cell.name for cell in cells])}
    for name in SETTINGS:
        labels[name] = column(name, [getattr(cell, name) for cell in cells])
    subset_counts = []
    for cell in cells:
        by_counts = cell.subset_method not in ("", "drop_random")
        subset_counts.append(counts_sha256 if by_counts else "")
    labels["subset_counts"] = column("subset_counts", subset_counts)
    return labels


def subset_labels(
    cells: Sequence[Condition], calibration: CalibrationRecord | None, seed: int
) -> dict[str, NDArray[Any]]:
    """Give how ties among the codes kept were broken, and how certain these codes are.

    (condition,) each; see `generate.study.subset`. `seed` is the study's.
    """
    known = [subset.certainty(cell, calibration, seed) for cell in cells]
    ties = []
    for cell in cells:
        by_counts = cell.subset_method not in ("", "drop_random")
        ties.append(subset.TIES if by_counts else "")
    return {
        "subset_ties": column("subset_ties", ties),
        "subset_overlap": column("subset_overlap", [one.overlap for one in known]),
        "subset_tie_share": column("subset_tie_share", [one.tie_share for one in known]),
        "subset_unseen": column("subset_unseen", [one.unseen for one in known]),
    }


def prompt_labels(prompts: Sequence[Prompt]) -> dict[str, NDArray[Any]]:
    """Give ids and attributes of the prompts, (prompt,) each.

    Attributes are JSON, '{}' where none are known.
    """
    ids, attributes = [], []
    for prompt in prompts:
        ids.append(prompt.id)
        attributes.append(json.dumps(prompt.attributes))
    return {
        "prompt": column("prompt", ids),
        "prompt_attributes": column("prompt_attributes", attributes),
    }


def text_values(
    prompts: Sequence[Prompt], read: Sequence[Reading] | None
) -> dict[str, NDArray[Any]]:
    """Give every text, its prompt and kind, and what the model sees of it, (text,) each.

    `read` may go on with the texts of further prompts.
    """
    texts = all_texts(prompts)
    n_tokens, cut = [-1] * len(texts), [False] * len(texts)
    for row, reading in enumerate((read or ())[: len(texts)]):
        n_tokens[row], cut[row] = len(reading.tokens), reading.cut
    wordings, indices, kinds = zip(*texts, strict=True)
    return {
        "text": column("text", wordings),
        "text_prompt": column("text_prompt", indices),
        "text_kind": column("text_kind", kinds),
        "text_tokens": column("text_tokens", n_tokens),
        "text_cut": column("text_cut", cut),
    }


def text_index(
    cells: Sequence[Condition], prompts: Sequence[Prompt], n_samples: int
) -> NDArray[np.int32]:
    """Give the row of the text each sample is made from, (condition, prompt, sample).

    Rows are those of `text_values`. Raises StudyError for a prompt with too few paraphrases.
    """
    rows: dict[tuple[int, str], int] = {}
    for row, (text, index, _) in enumerate(all_texts(prompts)):
        rows.setdefault((index, text), row)  # two texts may be equal: the first stands for both
    found = np.empty((len(cells), len(prompts), n_samples), dtype=np.int32)
    for condition, cell in enumerate(cells):
        for index, prompt in enumerate(prompts):
            used = texts_of_samples(prompt, cell, n_samples)
            found[condition, index] = [rows[index, text] for text in used]
    return found


def noise_keys(
    plan: Plan, experiment: str, *, rendering: bool = False
) -> dict[str, NDArray[np.uint64]]:
    """Give the keys of the noise streams of every sample, (condition, prompt, sample).

    With `rendering`, those of the decoder's noise as well. They are equal in all conditions, so that
    the conditions of a prompt are paired; where samples share their path noise, it is that of the
    first.
    """
    ids = [prompt.id for prompt in plan.prompts_of(experiment)]
    cells = plan.experiments[experiment]
    keys = {}
    roles: tuple[noise.Role, ...] = (*noise.ROLES, "rendering") if rendering else noise.ROLES
    for role in roles:
        draw = plan.noise_draw(experiment, role)
        streams = noise.stream_keys(plan.study.seed, ids, int(draw.max()) + 1, role)
        found = np.repeat(streams[None][:, :, draw], len(cells), axis=0)
        for condition, cell in enumerate(cells):
            if role == "path" and cell.path_noise == "shared":
                found[condition] = found[condition, :, :1]
        keys[f"{role}_key"] = found
    return keys


def code_values(
    cells: Sequence[Condition],
    codebook_size: int,
    calibration: CalibrationRecord | None,
    seed: int,
) -> dict[str, NDArray[Any]]:
    """Give the codes that each condition may use, and the counts behind them.

    `codebook_keep` is (condition, code), `calibration_count` (code,); counts are 0 without a
    `calibration`. One by stratum adds `stratum_keep` (condition, stratum, code) and `stratum_count`
    (stratum, code), and `codebook_keep` are the codes of any stratum.
    """
    counts = np.zeros(codebook_size, dtype=np.int64)
    if calibration is not None:
        counts = np.array(calibration.counts, dtype=np.int64)
    if calibration is not None and calibration.strata:
        by_stratum = np.array([part.counts for part in calibration.strata], dtype=np.int64)
        keep = np.stack([subset.kept(cell, by_stratum, seed) for cell in cells])
        return {
            "codebook_keep": np.asarray(keep.any(axis=1)),
            "calibration_count": counts,
            "stratum_keep": keep,
            "stratum_count": by_stratum,
        }
    keep = np.stack([subset.kept(cell, counts, seed) for cell in cells])
    return {"codebook_keep": keep, "calibration_count": counts}
