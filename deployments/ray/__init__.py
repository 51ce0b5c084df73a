"""Every private or pinned API of Ray and Serve that replicas use: see docs/ray.md for the table."""
