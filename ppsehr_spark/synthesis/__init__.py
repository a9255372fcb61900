"""Fictional and synthetic records and notes. Imports no engine."""
