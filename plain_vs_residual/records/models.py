"""What the JSON files of the records hold, field by field with its type; the CSV files: ``rows.py``."""

import math
import statistics
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from plain_vs_residual.arithmetic import Arithmetic
from plain_vs_residual.recipe import Recipe

Confusion = list[list[int]]
ResponseKind = Literal["response_std", "ratio", "cosine", "shortcut_share"]
# Untrained, by BN statistics of the images measured on; trained, by running statistics (E); the same weights by
# statistics estimated anew on these images (R).
Moment = Literal["initial", "final", "estimated"]
Statistic = Literal["mean", "median", "share below 1"]


class Model(BaseModel):
    """What all records have in common: fields of exactly the stated types; a later version's are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class DatasetRecord(Model):
    """The images of a run."""

    name: str
    caveat: str
    variant: str = Field(description="Sets the runs apart from those on the setting's own images and budget.")
    classes: list[str]
    validation_name: Literal["validation", "test"] = Field(description="What the validation images are called.")


class Environment(Model):
    """The machine and the versions."""

    python: str
    torch: str
    torchvision: str
    numpy: str
    platform: str
    device: str
    device_name: str
    cuda: str | None
    cudnn: int | None
    decoder: str | None = Field(None, description="Of JPEG files.")
    compiler: str | None = Field(None, description="That made the steps of a run, where one did.")
    git_commit: str | None
    git_changes: bool | None = Field(
        description="Whether the code has changes that are not committed; None where git cannot say."
    )


class Configuration(Recipe):
    """A recipe resolved for one run (its ``iterations`` are a number), and everything else that was chosen.

    Two runs of equal configuration and equal sources are the same run.
    """

    model_config = ConfigDict(extra="ignore")

    network: str
    seed: int
    num_training: int = Field(description="Images trained on.")
    num_validation: int = Field(description="Images evaluated on.")
    data_fingerprint: str
    replayed_rates: str | None = Field(None, description="Hash of the leader's rates, for the schedule replay.")
    source_weights: str | None = Field(None, description="SHA-256 of the weights that the network is grown from.")


class Resumption(Model):
    """When and where a stopped run went on."""

    iteration: int
    started: str
    environment: Environment
    arithmetic: Arithmetic


class RunDescription(Model):
    """What is known of a run before its network is built."""

    network: str
    label: str = Field(description="The network's name in figures.")
    setting: str
    study: str
    seed: int
    dataset: DatasetRecord
    caveat: str
    departures: list[str]
    configuration: Configuration
    arithmetic: Arithmetic
    sources: dict[str, str] = Field(description="Hash of the code of every module that determines the numbers.")
    environment: Environment
    started: str


class RunRecord(RunDescription):
    """``run.json``: what was to be done, by what and on what."""

    parameters: int
    multiply_adds: int
    initial_parameters: dict[str, str] = Field(
        description="Shape and hash of every initial parameter as drawn, neither modified nor grown."
    )
    initial_buffers: dict[str, str] = Field(description="Likewise of the running statistics of BN.")
    resumed: list[Resumption]
    registered: list[str] = Field([], description="Digests of what ``registered.json`` held when the run began.")
    checksum: str = ""


class MeanOf(NamedTuple):
    """Over which rows of ``responses.csv`` a column of ``final.json`` is the mean, or another statistic.

    Attributes:
        kind: of the rows.
        moment: of the rows.
        heading: of the column in tables; it stands in none if empty.
        statistic: what the column is of the values in these rows.
    """

    kind: ResponseKind
    moment: Moment
    heading: str
    statistic: Statistic = "mean"

    def of(self, values: Sequence[float]) -> float | None:
        """Return the statistic of the values of the rows; None without any, NaN if one of them is.

        >>> MeanOf("response_std", "final", "", "share below 1").of([0.5, 0.75, 1.0, 2.0])
        0.5
        """
        if not values:
            return None
        if any(map(math.isnan, values)):
            return math.nan
        if self.statistic == "median":
            return statistics.median(values)
        if self.statistic == "share below 1":
            return sum(value < 1 for value in values) / len(values)
        return sum(values) / len(values)


class FinalRecord(Model):
    """``final.json``: what came out. Errors in percent, losses in nats; at the last iteration, but for one."""

    outcome: Literal["finished", "diverged"]
    iteration: int
    training_error: float
    validation_error: float
    running_training_error: float = Field(
        description="Over the augmented batches of the last tenth of the iterations; what the paper's curves show."
    )
    validation_top5_error: float
    training_loss: float
    validation_loss: float
    test_error: float | None = Field(None, description="Where validation images are held out of the training set.")
    ten_crop_error: float | None = Field(
        None, description="Of validation images, predictions averaged over ten crops; where images are files."
    )
    ten_crop_top5_error: float | None = None
    confusion: Confusion = Field(description="Images by class (row) and prediction (column).")
    confusion_on: Literal["validation", "test"]
    # Over the 3x3 layers. Untrained, BN gives each of them a response of 1.
    mean_response: Annotated[float | None, MeanOf("response_std", "final", "mean response (E)")]
    mean_response_estimated: Annotated[float | None, MeanOf("response_std", "estimated", "mean response (R)")] = (
        None
    )
    median_response: Annotated[float | None, MeanOf("response_std", "final", "", "median")] = None
    median_response_estimated: Annotated[
        float | None, MeanOf("response_std", "estimated", "median response (R)", "median")
    ] = None
    small_responses: Annotated[float | None, MeanOf("response_std", "final", "", "share below 1")] = None
    small_responses_estimated: Annotated[
        float | None, MeanOf("response_std", "estimated", "layers below 1 (R)", "share below 1")
    ] = None
    # Over the residual blocks; a plain network has none.
    initial_mean_ratio: Annotated[float | None, MeanOf("ratio", "initial", "untrained F(x) / x")]
    mean_ratio: Annotated[float | None, MeanOf("ratio", "final", "F(x) / x (E)")]
    mean_ratio_estimated: Annotated[float | None, MeanOf("ratio", "estimated", "F(x) / x (R)")] = None
    mean_cosine: Annotated[float | None, MeanOf("cosine", "final", "")]
    mean_cosine_estimated: Annotated[float | None, MeanOf("cosine", "estimated", "cosine (R)")] = None
    responses_on: str
    skipped_steps: int = Field(description="Steps left out because fp16 overflowed.")
    training_seconds: float
    evaluation_seconds: float
    last_session_seconds: float
    waited_for_data_seconds: float
    images_per_second: float
    peak_memory_mib: int | None = Field(
        description="Of the device; None on a CPU, where only the process has one."
    )
    consumed: dict[str, str] = Field(
        description="Hashes of the order, crops, flips and pixels consumed, and of the images evaluated."
    )
    learning_rates: list[tuple[int, float]] = Field(description="Applied rates: first iteration and rate of each.")
    files: dict[str, str] = Field({}, description="SHA-256 of the run's other files.")
    checksum: str = ""


_MARKS = ((column, mark) for column, field in FinalRecord.model_fields.items() for mark in field.metadata)
RESPONSE_MEANS = {column: mark for column, mark in _MARKS if isinstance(mark, MeanOf)}


class MeasurementRecord(Model):
    """``<measurement>.json``: what was measured on a finished run, by which code, and what it comes to."""

    measurement: str
    summary: dict[str, float | None] = Field(description="Columns for claims; None where there is no number.")
    run: str = Field(description="Checksum of the run's final.json.")
    sources: dict[str, str] = Field(description="Hash of the code of every module that determines the numbers.")
    environment: Environment
    registered: list[str] = Field([], description="Digests of what ``registered.json`` held when it was measured.")
    arithmetic: Arithmetic | None = Field(None, description="None where an earlier version did not note it.")
    seconds: float
    files: dict[str, str] = Field({}, description="SHA-256 of the table of numbers.")
    checksum: str = ""
