"""What an operator sees of a run: its record, its cost, its plan, its log lines, its metrics."""
