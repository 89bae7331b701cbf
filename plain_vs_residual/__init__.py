"""Plain and residual networks trained in pairs: the degradation problem of He et al. (2015)."""

__version__ = "0.1.0"
