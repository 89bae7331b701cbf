"""What ``doctor`` found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``fix`` is empty where nothing is wrong."""

    what: str
    found: str
    fix: str = ""
