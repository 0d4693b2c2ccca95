"""What a user may leave out of how images are scored, because something else says it. Loads no torch."""

from collections.abc import Mapping
from typing import Any, Literal

FID = {"fid", "fidinf"}
"""Metrics of Inception's features alone."""
INCEPTION = "inception"
Tier = Literal["smoke", "standard", "paper"]
TIERS = {"smoke": 1_000, "standard": 10_000, "paper": 50_000}
"""Numbers of images: to see that all works, to compare samplers, and what papers score."""


def completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with a tier's images, the extractor inception where FID or its weights are asked for, and FID where it is given.

    Raises:
        ValueError: weights of Inception for another extractor, or another number of images than the tier's.
    """
    found = dict(values)
    tier = found.get("quality")
    if isinstance(tier, str) and tier in TIERS and found.setdefault("images", TIERS[tier]) != TIERS[tier]:
        raise ValueError("quality and images both give the number of images; leave out one")
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
