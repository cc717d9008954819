"""One executor an operation: what a vertex asks for, done to the store and the kernel."""
