"""Does what standard input asks for and prints what came of it, both as JSON by name.

``python -m tests.pretended_cuda steps`` passes each entry to ``abstract_steps.watched``, ``... runs`` to
``whole_runs.trained``. Exits with 77 and prints the reason where the guard cannot be compiled or loaded.
"""

import json
import sys
import warnings

from tests.pretended_cuda import CANNOT_PRETEND
from tests.pretended_cuda.guard import CannotPretend, load_guard

if __name__ == "__main__":
    try:
        load_guard()
    except CannotPretend as reason:
        print(reason)
        sys.exit(CANNOT_PRETEND)
    import torch

    torch.set_num_threads(1)
    # torch's advice about fake tensors, and about reading a rate that is a tensor, is of no use here.
    warnings.simplefilter("ignore")
    if sys.argv[1] == "steps":
        from tests.pretended_cuda.abstract_steps import watched as do
    else:
        from tests.pretended_cuda.whole_runs import trained as do
    results = {name: do(**wanted) for name, wanted in json.load(sys.stdin).items()}
    print(json.dumps(results))
