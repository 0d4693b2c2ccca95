"""Trained networks: the U-Net, teachers, the zoo of cards, weights on disk. Imports schedule, denoiser, files, errors."""
