"""CUDA code paths run without a CUDA device: torch's CPU build is made to believe in one.

``guard`` makes it believe. ``abstract_steps`` takes steps without numbers and watches every operation;
``labelled`` computes numbers on the CPU in tensors that say they are on ``cuda:0``, so that a whole run can be
trained; ``planted`` puts bugs in. Each needs a process of its own: ``python -m tests.pretended_cuda JOB ...``.

Neither shows that a real device can record the step, nor its streams, its memory, its determinism or its speed:
that is what ``tests/test_real_gpu.py`` is for.
"""

PROVEN_WITH = "2.13.0"  # the torch with which the guard is known to compile and to be believed
CANNOT_PRETEND = 77  # the exit code where the guard cannot be compiled or loaded
