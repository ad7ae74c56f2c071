"""Running one run: the engine, what it lends an agent, the limits, and who runs next."""
