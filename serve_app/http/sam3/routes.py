"""Every route of SAM 3: a new one is a module beside these, and a row here."""

from types import ModuleType

from serve_app.http.sam3 import concept, embed, kept_images, visual

ROUTES: tuple[ModuleType, ...] = (concept, visual, embed, kept_images)
"""Modules with a `router`. Those whose routes take bodies have their `FORMS`."""
