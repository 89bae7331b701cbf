"""Speed as a ratio against a reference measured in the same process, and proofs that fast is equal."""
