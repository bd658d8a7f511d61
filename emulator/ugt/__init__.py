"""The global trigger: menu, algorithms, prescales and trigger rules."""
