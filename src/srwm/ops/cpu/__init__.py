"""The compiled library of CPU kernels, and memory for their results."""
