"""Statistics on Spark: bounded, integer aggregates over public cells, handed to a mechanism on the driver."""
