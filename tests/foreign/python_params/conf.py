import os

RATE = 1
HOME = os.sep


class Fit:
    epochs: int = 3
    sizes = (4, 5)
