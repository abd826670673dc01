"""The paper's tables as data, the same figures of our networks, and the statistics of ablations.

The networks are in `models/`, and the settings to train each of them in `recipes/`.
"""
