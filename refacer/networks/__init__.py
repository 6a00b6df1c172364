"""Networks as torch modules: StyleGAN2, perceptual distances, face parsers, landmarks, identity, sketches.

Where a network's weights were published by others, the names of its attributes are the keys of the published state.
"""
