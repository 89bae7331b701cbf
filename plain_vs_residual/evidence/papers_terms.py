"""Whether runs are on the paper's own terms: its images, whole, at its budget."""

from plain_vs_residual.records.recorded_runs import RecordedRuns

ILSVRC2012 = (1_281_167, 50_000)  # training and validation images


def on_the_papers_terms(recorded: RecordedRuns) -> bool:
    """Say whether runs can reproduce a claim: all images of CIFAR-10 or ImageNet, the whole schedule."""
    if recorded.caveats:
        return False
    if recorded.name == "imagenet":
        return has_all_of_imagenet(recorded)
    return recorded.name == "cifar10" and recorded.dataset == "CIFAR-10"


def has_all_of_imagenet(recorded: RecordedRuns) -> bool:
    """Say whether as many images were trained and evaluated on as ILSVRC 2012 has."""
    recipe = recorded.records[0].run.configuration
    return (recipe.num_training, recipe.num_validation) == ILSVRC2012
