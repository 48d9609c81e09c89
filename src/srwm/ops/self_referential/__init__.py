"""The self-referential weight matrix: definition, operators, kernels."""
