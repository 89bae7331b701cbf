"""How a run computes: what decides its numbers beside the recipe, recorded once, equal within a pair."""

from enum import StrEnum
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["bf16", "fp32", "tf32", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


class Execution(StrEnum):
    """How the operations of a step reach the device.

    One by one; as one recorded CUDA graph, whose kernels are torch's or fuse BN with what follows it; compiled; or
    natively: on a CPU, all layers in one call.
    """

    EAGER = "eager"
    GRAPH = "graph"
    FUSED_AND_GRAPH = "fused+graph"
    COMPILE = "compile"
    COMPILE_AND_GRAPH = "compile+graph"
    NATIVE = "native"

    @property
    def compiled(self) -> bool:
        """Whether the network goes through ``torch.compile``."""
        return self in (Execution.COMPILE, Execution.COMPILE_AND_GRAPH)

    @property
    def recorded(self) -> bool:
        """Whether the step is recorded as a CUDA graph."""
        return self in (Execution.GRAPH, Execution.FUSED_AND_GRAPH, Execution.COMPILE_AND_GRAPH)

    @property
    def fused(self) -> bool:
        """Whether BN, the addition of a shortcut and ReLU are computed together."""
        return self is Execution.FUSED_AND_GRAPH

    @property
    def uncompiled(self) -> "Execution":
        """The same with layers that torch calls one by one: not compiled, and not native."""
        if self is Execution.NATIVE:
            return Execution.EAGER
        if not self.compiled:
            return self
        return Execution.GRAPH if self.recorded else Execution.EAGER


class Arithmetic(BaseModel):
    """Everything about computing that may change the last digits; where that happens is no part of it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    precision: Precision = Field(description="In which the network computes; weights and statistics stay fp32.")
    execution: Execution = Field(Execution.EAGER, description="How operations reach the device.")
    deterministic: bool = Field(False, description="Whether only algorithms that give equal bytes may be used.")
    devices: int = Field(1, ge=1, description="How many share each batch of the run.")
    threads: int = Field(ge=1, description="CPU threads of the run, those of all its processes together.")

    def differences(
        self, other: "Arithmetic", but_for: frozenset[str] = frozenset()
    ) -> dict[str, tuple[object, object]]:
        """Return the values of every field in which two differ, but for some."""
        fields = [name for name in Arithmetic.model_fields if name not in but_for]
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in fields}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def check_names(precision: str | None, execution: str | None) -> None:
    """Refuse names that no machine accepts; None stands for a choice that is left to the machine.

    Raises:
        ValueError: says which are accepted.
    """
    for option, name, accepted in (
        ("precision", precision, PRECISIONS),
        ("execution", execution, tuple(Execution)),
    ):
        if name is not None and name not in accepted:
            raise ValueError(f"--{option} {name}: accepted are {', '.join(accepted)}")
