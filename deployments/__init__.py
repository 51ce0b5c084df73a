"""The Ray Serve deployments: ingress service, image encoder, prompt decoder, embedding pool."""
