"""Plain and residual networks trained in pairs: the degradation problem of He et al. (2015)."""
