"""Faults on purpose: is anything lost, is every result byte-equal?"""
