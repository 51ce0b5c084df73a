"""The image trunk (a ViT) for inference: the package's weights and answers, with less work on the way."""
