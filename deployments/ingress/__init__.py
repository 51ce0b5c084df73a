"""In an ingress: the service behind HTTP, and the decoders and the pool as it sees them."""
