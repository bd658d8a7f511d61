"""Muons through a model of the detector and of the track finders, to the words of the uGMT."""
