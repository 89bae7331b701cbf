"""What a room is asked before it sees a figure: a question and four answers, decided by the number of a claim."""

from bisect import bisect_right
from dataclasses import dataclass

LETTERS = "ABCD"


@dataclass(frozen=True)
class Prediction:
    """A question with four answers; which one is right is not written down: the recorded runs say it.

    Attributes:
        question: asked before the figure is seen.
        claim: statement of the claim of the same experiment whose number answers it.
        limits: three ascending numbers, in the unit of that claim's column.
        answers: four: for a number below the first limit, from there to the second, to the third, and beyond.
    """

    question: str
    claim: str
    limits: tuple[float, float, float]
    answers: tuple[str, str, str, str]

    def __post_init__(self) -> None:
        if len(self.limits) != 3 or list(self.limits) != sorted(set(self.limits)):
            raise ValueError(f"prediction '{self.question}': three ascending limits are needed, not {self.limits}")
        if len(self.answers) != len(LETTERS) or len(set(self.answers)) < len(LETTERS):
            raise ValueError(f"prediction '{self.question}': four different answers are needed")

    def letter(self, number: float) -> str:
        """Return the letter of the answer that a number makes right.

        >>> asked = Prediction("How much more?", "It is more", (0, 2, 20), ("less", "as much", "some", "a lot"))
        >>> asked.letter(-0.1), asked.letter(0), asked.letter(12.2), asked.letter(20)
        ('A', 'B', 'C', 'D')
        """
        return LETTERS[bisect_right(self.limits, number)]

    @property
    def lettered(self) -> list[str]:
        """The answers, each with its letter before it."""
        return [f"{letter}: {answer}" for letter, answer in zip(LETTERS, self.answers, strict=True)]
