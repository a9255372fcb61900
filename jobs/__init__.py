"""One thin file per stage; jobs never import one another."""
