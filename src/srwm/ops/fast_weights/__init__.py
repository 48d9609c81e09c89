"""Fast weights (delta rule, linear attention): definition, operators, kernels."""
