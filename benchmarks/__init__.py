"""Benchmarks: speed relative to a reference measured in alternation, and checks that fast code is correct."""
