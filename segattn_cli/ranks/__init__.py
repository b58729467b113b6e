"""Several processes that train or evaluate one network together: the ranks, and what they tell each other."""
