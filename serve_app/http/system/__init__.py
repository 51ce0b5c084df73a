"""The routes about the server itself: state, documentation, playground."""
