"""People's doors: read models, roles, API, console, and the doctor."""
