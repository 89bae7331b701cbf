"""Schedule, step, loop and checkpoints of one run."""
