"""Networks and nothing else: the paper's (`smallbig.py`), those that it compares with, their names (`zoo.py`) and their cost.

Weights, videos and training live elsewhere.
"""
