"""The routes of videos: sessions, their frames, and prompts about them."""
