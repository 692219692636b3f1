"""The one who looks, as the browser tells: the time zone, and the host by which we were reached."""

from datetime import UTC, tzinfo
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


def zone() -> tzinfo:
    """The browser's time zone; UTC if it does not say, or names one that we do not know."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def host(otherwise: str) -> str:
    """The name or number of this machine that the viewer's browser knows."""
    return urlsplit(st.context.url or "").hostname or otherwise
