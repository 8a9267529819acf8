"""What people look at: figures, the animation of the training, and pages.

setup.py       keeps the user's settings of Matplotlib out of every picture.
figures.py     the figures, and the list of those that the report shows.
animation.py   the pictures of a training: the frames for MLflow, and the GIF.
scales.py      the axis of a parameter whose values were swept.
palette.py     colours, markers and sizes that every picture of the data shares.
pages.py       fills in the templates that lie beside it.
"""
