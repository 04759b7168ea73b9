"""Programs that run in guests. They know nothing of the framework."""
