"""Where the data ends up: the lake."""
