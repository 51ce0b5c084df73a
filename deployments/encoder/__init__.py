"""The image encoder's process: pixels in, compact embeddings out."""
