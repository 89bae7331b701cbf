"""Whether the paper's numbers may stand beside ours."""

from plain_vs_residual.evidence.papers_terms import has_all_of_imagenet
from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns

TEN_CROPS = "ImageNet, top-1, 10-crop"  # what experiments call the protocol of the paper's Tables 2 and 3


def paper_is_comparable(recorded: RecordedRuns, experiment: Experiment) -> bool:
    """Say whether the paper's numbers stand beside ours: only for the same data, split, budget and protocol."""
    if not experiment.paper_errors:
        return False
    if recorded.name == "imagenet":
        as_in_paper = experiment.paper_data == TEN_CROPS and "ten_crop_error" in recorded.finals
        return as_in_paper and has_all_of_imagenet(recorded)
    return recorded.name == "cifar10" and recorded.dataset == experiment.paper_data
