"""Networks and nothing else: the paper's (`smallbig.py`), those it compares with, their names (`zoo.py`) and their cost.

Their weights are in `weights/`, their inference forms in `inference/`, their training in `training/`.
"""
