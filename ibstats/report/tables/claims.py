"""The table of the paper's claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ibstats.report.table import Column, Table, Text

if TYPE_CHECKING:
    from ibstats.results.findings import Finding, Verdict

VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "not comparable")

NOTE = (
    "The paper publishes neither its prompts, nor the number of images, nor all sampling settings: "
    "its numbers are compared with intervals over our prompts. A claim holds if our whole interval "
    "lies where it has the value, and is contradicted if the value lies outside with p < .01, Holm "
    "over its rows. Margins are ours: 5 % of the value without intervention for what does not "
    "change, 5 % of a published value, 20 % of a published difference. FID and Frechet distances "
    "grow by a bias where diversity falls. Wording of the claims is ours."
)


def claims(findings: Sequence[Finding]) -> Table:
    """Each claim with what the paper says, our result, the verdict and its reason.

    The title counts the verdicts; what makes a claim comparable stands in the note.
    """
    counts = Counter(finding.verdict for finding in findings)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)
    rows = []
    for finding in findings:
        about = f"{finding.where}, {finding.model}: {finding.claim}"
        verdict = f"{finding.verdict}: {finding.reason}"
        rows.append((Text(about), Text(finding.paper), Text(finding.ours), Text(verdict)))
    columns = (Column("claim"), Column("paper"), Column("ours"), Column("verdict"))
    return Table("claims", f"{len(findings)} claims: {said}", columns, tuple(rows), notes=(NOTE,))
