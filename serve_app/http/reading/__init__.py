"""Reads what clients send: bodies, and images by base64, by part and by URL."""
