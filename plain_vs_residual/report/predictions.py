"""Which answer to an experiment's question the recorded runs give."""

from collections.abc import Sequence

from plain_vs_residual.evidence.decision import Verdict
from plain_vs_residual.prediction import Prediction
from plain_vs_residual.report.tables import formula, number_and_interval


def answer(prediction: Prediction, verdicts: Sequence[Verdict], setting: str) -> str:
    """Say which answer is right, by which number, and how sure that is; empty as long as no seed is complete.

    Args:
        prediction: of an experiment.
        verdicts: on the claims of that experiment; where its claim was registered several times, the last counts.
        setting: of the runs.
    """
    of_claim = [one for one in verdicts if one.claim.statement == prediction.claim and one.measurement.num]
    if not of_claim:
        return ""
    verdict = of_claim[-1]
    measured, claim = verdict.measurement, verdict.claim
    letter = prediction.letter(measured.mean)
    words = f"{letter}. {formula(claim, verdict.validation_name)}: {number_and_interval(measured)}"
    if claim.column.startswith("log10"):
        words += f"; that is {10**measured.mean:,.0f} times"
    if measured.num > 1:
        ends = "".join(dict.fromkeys(map(prediction.letter, measured.interval)))
        words += f"; the interval reaches from {ends[0]} to {ends[-1]}" if ends != letter else ""
    reason = claim.undecidable.get(setting)
    return words + (f". It decides nothing: {reason}." if reason else ".")
