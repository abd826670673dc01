"""A training run: its settings, batches, optimizer steps, learning rate, processes and trackers, and the files that it leaves.

How a trained model predicts and is tested is in `inference/`.
"""
