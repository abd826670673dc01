"""A training run: its settings, its data loop, its learning rate, its processes, and the files that it leaves.

What a finished model answers is in `inference/`.
"""
