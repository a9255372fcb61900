"""Engines that serve Qwen and the actors that drive them. Never imports pyspark."""
