"""What may have been meant by a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, accepted: Iterable[str]) -> str:
    """Ask about the accepted names that are near a wrong one, or that contain it; empty if there are none.

    The question stands behind the wrong name, before what is accepted.

    >>> did_you_mean("fashon", ["fashion", "digits"])
    ' (did you mean fashion?)'
    >>> did_you_mean("fig6", ["fig4_depth", "fig6_cifar_depth"])
    ' (did you mean fig6_cifar_depth?)'
    >>> did_you_mean("mnist", ["fashion", "digits"])
    ''
    """
    names = {one.lower(): one for one in accepted}
    given = name.lower()
    near = get_close_matches(given, names, n=2, cutoff=0.75) or [
        one for one in names if len(given) > 2 and given in one
    ]
    return f" (did you mean {' or '.join(names[one] for one in near)}?)" if near else ""
