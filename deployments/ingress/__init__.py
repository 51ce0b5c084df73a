"""The ingress process: the service behind HTTP, and its clients of decoders and pool."""
