"""Calorimeter layer 2: jets, energy sums, e/gamma and taus from trigger towers."""
