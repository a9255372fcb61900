"""Erasing persons: who they are in the lake, their rows, their traces in history and files."""
