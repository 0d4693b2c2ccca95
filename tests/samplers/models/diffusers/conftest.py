"""Models saved by diffusers itself, and a library that says nothing."""

import logging

import diffusers
import pytest


@pytest.fixture(autouse=True)
def _quiet():
    diffusers.utils.logging.set_verbosity(logging.CRITICAL)
    diffusers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Save a network and a scheduler as `save_pretrained` lays them out; returns the path, and the spec of the teacher."""

    def save(scheduler, **networks):
        root = tmp_path_factory.mktemp("model")
        scheduler.save_pretrained(root / "scheduler")
        for name, network in networks.items():
            network.save_pretrained(root / name)
        return root, f"diffusers:{root}"

    return save
