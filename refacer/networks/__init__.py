"""Torch modules whose attribute names equal the published state-dict keys."""
