"""From videos to classes: how views are read, the classifier, the fast forms of a network, scores and their figures.

How a network learns is in `training/`.
"""
