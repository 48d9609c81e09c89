"""CPU kernels in C++, called through a C interface and registered with `torch.library`."""
