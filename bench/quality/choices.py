"""What a user may leave out of metrics and extractor, because the other says it. Loads no torch."""

from collections.abc import Mapping
from typing import Any

FID = {"fid", "fidinf"}
"""Metrics of Inception's features alone."""
INCEPTION = "inception"


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the extractor inception where FID or its weights are asked for, and FID where that is what it gives.

    Raises:
        ValueError: weights of Inception for another extractor.
    """
    found = dict(values)
    asked = found.get("metrics")
    listed = [asked] if isinstance(asked, str) else asked if isinstance(asked, list | tuple) else []
    named = FID & {m for m in listed if isinstance(m, str)}
    if found.get("extractor") is None and (named or found.get("inception_weights") is not None):
        found["extractor"] = INCEPTION
    if asked is None and found.get("extractor") == INCEPTION:
        found["metrics"] = ("fid",)
    if found.get("inception_weights") is not None and found["extractor"] != INCEPTION:
        raise ValueError("inception_weights are for the extractor inception; leave out one")
    return found
