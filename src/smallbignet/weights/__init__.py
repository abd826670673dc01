"""Where networks come from and where they are kept: model directories, published checkpoints, the hub, image weights.

`load.py` is the way in. Each source of checkpoints is one file of key rules. How a network computes is in `models/`.
"""
