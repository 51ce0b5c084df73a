"""The embedding pool: which image's embedding is where, one encode per image, bytes under a budget."""
