"""The parts of the leak test: who asks, what answers, how runs are woven, and where it is looked for."""
