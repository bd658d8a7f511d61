"""What the Level-1 trigger computes, as functions on blocks."""
