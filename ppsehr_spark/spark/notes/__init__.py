"""The Spark side of de-identification: recognise, make work units, tier, protect."""
