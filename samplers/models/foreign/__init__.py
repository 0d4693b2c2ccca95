"""Other people's checkpoints as teachers: EDM's and EDM2's pickles, guided-diffusion's and consistency_models' state dicts.

Their networks are written from the papers, under the names of the original tensors, and no file's code is run. Imports the
rest of `samplers.models`, schedule, settings, files, errors.
"""
