"""The store's part of the settings. No Ray: `sam3-serve up` asks the store before it sets up Ray's environment."""

from deployments.config import StoreConfig
from serve_app.settings import Settings


class NoStore(ValueError):
    """The settings name no server for the store."""


def store_config(settings: Settings) -> StoreConfig:
    """The server of the store. Raises NoStore."""
    if not settings.store:
        raise NoStore(
            "SAM3_STORE names no server for ids and image files: only `sam3-serve up` starts one by itself"
        )
    return StoreConfig(
        url=settings.store,
        cold_bytes=int(settings.cold_bytes),
        idle_ttl_s=settings.idle_ttl_s,
        password=settings.store_password.get_secret_value(),
        password_file=str(settings.store_password_file) if settings.store_password_file else None,
        ca_file=str(settings.store_ca_file) if settings.store_ca_file else None,
        prefix=settings.store_prefix,
    )
