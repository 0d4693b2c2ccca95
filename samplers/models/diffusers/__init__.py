"""Models of the library diffusers as teachers: a folder or a hub id, its networks by their fields, its weights and no code.

Imports what `samplers.models` imports; the packages diffusers, huggingface_hub and transformers when a model is loaded.
"""
