"""Videos in the ingress: their sessions, files and frames, around the store and the model."""
