"""Telling: one emitter writes a run's events to the log, and any number of readers are told from there."""
