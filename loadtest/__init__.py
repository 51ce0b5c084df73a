"""Load tests, benchmarks and fault drills: what they share, and one module for each. Not shipped."""
