"""The forms that data sets come in, one file for each form. A new one is a file here and an entry in `FORMATS`.

What uses a data set does not know its form: it calls `data.source`.
"""

from smallbignet.data.formats.base import Format
from smallbignet.data.formats.folder import ClassFolders
from smallbignet.data.formats.kinetics import KINETICS_400
from smallbignet.data.formats.lists import PathList
from smallbignet.data.formats.something_something import V1, V2
from smallbignet.data.formats.table import Table
from smallbignet.data.formats.ucf101 import Ucf101

# A file or folder has the first of these forms that recognises it.
FORMATS: list[Format] = [KINETICS_400, V1, V2, ClassFolders(), Ucf101(), PathList(), Table()]
