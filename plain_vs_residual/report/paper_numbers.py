"""Whether the paper's numbers may stand beside ours."""

from plain_vs_residual.experiment import Experiment
from plain_vs_residual.records.recorded_runs import RecordedRuns

TEN_CROPS = "ImageNet, top-1, 10-crop"  # what experiments call the protocol of the paper's Tables 2 and 3
ILSVRC2012 = (1_281_167, 50_000)  # training and validation images


def paper_is_comparable(recorded: RecordedRuns, experiment: Experiment) -> bool:
    """Say whether the paper's numbers stand beside ours: only for the same data, split, budget and protocol."""
    if not experiment.paper_errors:
        return False
    if recorded.name == "imagenet":
        recipe = recorded.records[0].run.configuration
        images = (recipe.num_training, recipe.num_validation)
        return experiment.paper_data == TEN_CROPS and images == ILSVRC2012 and "ten_crop_error" in recorded.finals
    return recorded.name == "cifar10" and recorded.dataset == experiment.paper_data
