"""The table of the paper's claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ibstats.report.table import Column, Table, Text

if TYPE_CHECKING:
    from ibstats.results.claims import Finding, Verdict

VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "not comparable")

NOTE = (
    "The paper publishes neither its prompts, nor the number of images, nor all sampling settings: "
    "its numbers are compared with intervals over our prompts. Equivalence: two one-sided tests "
    "within 5 % of the value without intervention, a margin of ours; a number holds if our whole "
    "interval lies within that margin of it. FID and Frechet distances grow by a bias where "
    "diversity falls. Wording of the claims is ours."
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
