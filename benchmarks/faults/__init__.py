"""Fault injection: is anything lost, and is every result identical byte for byte?"""
