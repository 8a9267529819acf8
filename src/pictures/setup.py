"""What keeps a user's settings of Matplotlib out of the pictures.

The pictures are the same bytes everywhere. Matplotlib obeys files, variables and fonts of its
user, some of them while it is imported. So `main` of a script that draws calls `isolate_matplotlib`
before anything imports Matplotlib; `pictures.figures` is imported after that, where it is needed.
"""

import os
import sys
from contextlib import chdir
from pathlib import Path


def isolate_matplotlib() -> None:
    """Import Matplotlib without the settings and fonts of its user.

    Raises:
        RuntimeError: Matplotlib was imported before; it has read the settings already.
    """
    if "matplotlib" in sys.modules:
        raise RuntimeError("isolate_matplotlib must be called before Matplotlib is imported")
    # A backend that is not installed ends the import; the pictures need none.
    os.environ.pop("MPLBACKEND", None)
    # FreeType draws the letters in another shape, by the version of its interpreter.
    os.environ.pop("FREETYPE_PROPERTIES", None)
    # Of all files named matplotlibrc, the one of the current folder is read, and no other. A user's
    # one would end the import if it is no text, or print warnings. (Its settings of figures would
    # not count: every figure is drawn with all settings of `pictures.figures.STYLE`.)
    with chdir(Path(__file__).parent):
        import matplotlib
        from matplotlib import font_manager
    # The list of fonts is the user's: other files may be called DejaVu Sans there, or none.
    own_fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    font_manager.fontManager.ttflist = []
    for path in sorted(own_fonts.glob("*.ttf")):
        font_manager.fontManager.addfont(path)
