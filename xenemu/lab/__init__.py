"""Experiments: a scenario, faults at chosen instants of it, and a witness that judges."""
