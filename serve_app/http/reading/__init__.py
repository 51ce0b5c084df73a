"""Reads requests: bodies, and images from base64, parts and URLs."""
