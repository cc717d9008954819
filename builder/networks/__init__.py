"""Networks of containers: bridges with address translation, the host's, none, or user mode."""
