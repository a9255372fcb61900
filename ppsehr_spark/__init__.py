"""ppsehr-spark: a distributed engine that turns Chinese EMR notes into data that may be used."""

__version__ = "0.1.0"
