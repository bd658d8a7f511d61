"""Words, blocks, sources and sinks: everything that moves Level-1 data."""
