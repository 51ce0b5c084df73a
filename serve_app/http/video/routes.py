"""The modules with the routes of videos. For a new route, add a module to this folder and to VIDEO_ROUTES."""

from types import ModuleType

from serve_app.http.video import frames, prompts, propagate, sessions

VIDEO_ROUTES: tuple[ModuleType, ...] = (sessions, frames, prompts, propagate)
"""Modules with a `router`, and with BODIES: the schemas of their requests."""
