"""The embedding pool: the place of each image's embedding, one encode per image, bytes under a budget."""
