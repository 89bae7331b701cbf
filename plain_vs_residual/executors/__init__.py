"""Which runs are trained, where, and what a person is told about it."""
