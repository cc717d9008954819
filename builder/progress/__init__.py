"""What a build shows while it works: plain lines, a live terminal, or JSON; all are event sinks."""
