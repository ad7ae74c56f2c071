"""Values: identity, messages, events, run status, and the ports to what is outside. No I/O and no tasks."""
