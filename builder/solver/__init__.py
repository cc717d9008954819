"""From a graph to results: cache keys, look-ups, and execution of what is missing."""
