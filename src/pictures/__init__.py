"""What people look at: figures, the moving picture, pages.

Matplotlib and Pillow obey settings files, variables and fonts of the user, which must not reach a
picture. So all of the project has them from here, and Matplotlib is imported without its user's settings.
"""

import os
from contextlib import chdir
from pathlib import Path

os.environ.pop("MPLBACKEND", None)  # none is needed, and one that is not installed ends the import
os.environ.pop("FREETYPE_PROPERTIES", None)  # other shapes of letters
with chdir(
    Path(__file__).parent
):  # the file matplotlibrc of the current folder is read, and no other
    from matplotlib import artist, font_manager, get_data_path

# Matplotlib writes documentation of its classes while they are imported, for nearly half of that time.
artist.Artist._update_set_signature_and_docstring = classmethod(lambda cls: None)
artist.kwdoc = lambda cls: ""
# Fonts of the user, and a list of fonts that is out of date or broken, count for nothing.
font_manager.fontManager.ttflist = []
for _font in sorted(Path(get_data_path(), "fonts/ttf").glob("*.ttf")):
    font_manager.fontManager.addfont(_font)
