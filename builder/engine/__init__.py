"""Use cases: what the command line and the daemon ask for, put together from the parts."""
