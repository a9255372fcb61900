"""Delta tables without Spark: their contracts (schemas) and the Spark-free door to them."""
