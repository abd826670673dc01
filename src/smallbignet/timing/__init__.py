"""Networks timed in turns: what is timed (`variants.py`) and how the turns are taken (`turns.py`).

What is made faster is in `ops/` and `inference/fuse.py`.
"""
