"""Figures, the animation of the training, and pages.

matplotlib_setup.py   keeps the user's Matplotlib settings out of every picture.
figures.py            draws the figures, and lists the ones in the report.
animation.py          draws a training: the frames for MLflow, and the GIF.
scales.py             chooses the axis of a parameter whose values were swept.
palette.py            holds what all pictures of the data share: colours, markers, sizes, limits.
pages.py              fills in the templates that lie beside it.
report_page.py        writes the report as one HTML file.
explorer.py           writes its interactive part; the JavaScript lies in explorer/ and engine/.
lesson.py             holds the questions and the form of the interactive part.
"""
