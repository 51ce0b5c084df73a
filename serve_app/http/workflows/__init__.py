"""The routes of Workflows."""
