"""Maintenance of every table, each by the engine that writes it."""
