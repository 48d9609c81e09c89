"""GPU kernels in Triton, compiled and interpreted, not yet run on a GPU. Nothing here imports Triton before the first call."""
