"""Pure figures over finished annotations and releases. Imports no engine."""
