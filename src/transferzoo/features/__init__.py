"""Features of frozen backbones, computed once."""
