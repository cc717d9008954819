"""Linux, one system call away: values in, descriptors and KernelError out."""
