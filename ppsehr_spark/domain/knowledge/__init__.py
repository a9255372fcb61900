"""Knowledge that grows from reviewed errors: entries over conf, where they come from, and what they may touch."""
