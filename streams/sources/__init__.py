"""Sources of blocks, chosen by looking at the content of what is given."""
