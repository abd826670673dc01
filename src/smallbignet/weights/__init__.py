"""Where networks come from and where they are kept: model directories, published checkpoints, the hub, image weights.

Each source of weights is one file. How a network computes is in `models/`.
"""
