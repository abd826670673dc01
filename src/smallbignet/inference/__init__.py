"""What answers videos: the classifier, the fast forms of a network, scores and the figures computed from them.

How a network learns is in `training/`.
"""
