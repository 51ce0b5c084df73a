"""The modules with the routes of SAM 3. For a new route, add a module to this folder and to ROUTES."""

from types import ModuleType

from serve_app.http.sam3 import concept, embed, kept_images, usage, visual

ROUTES: tuple[ModuleType, ...] = (concept, visual, embed, kept_images, usage)
"""Modules with a `router`, and with `FORMS` if their routes take bodies."""
