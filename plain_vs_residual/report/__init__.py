"""Figures, tables and the page. Imports no torch."""
