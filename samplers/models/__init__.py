"""Trained networks: the U-Net, teachers and what their output means, the zoo of cards, weights on disk.

Imports schedule, denoiser, registry, settings, files, errors.
"""
