"""Statistics over bundles: what is comparable, how sure the differences are, what they cost.

Pure functions of numpy arrays, frames and opened bundles; imports without torch.
"""

from diger.statistics.bootstrap import Difference, Interval, compare
from diger.statistics.paired import Paired, pair, refusals
from diger.statistics.randomisation import randomisation_p
from diger.statistics.runs import runs_frame, summarise, summary_frame
from diger.statistics.verdict import (
    Claim,
    choose_group,
    choose_pair,
    claim,
    dataset_claim,
    holm,
    in_words,
    judge,
    summary_claim,
)

__all__ = [
    "Claim",
    "Difference",
    "Interval",
    "Paired",
    "choose_group",
    "choose_pair",
    "claim",
    "compare",
    "dataset_claim",
    "holm",
    "in_words",
    "judge",
    "pair",
    "randomisation_p",
    "refusals",
    "runs_frame",
    "summarise",
    "summary_claim",
    "summary_frame",
]
