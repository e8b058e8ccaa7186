"""Starts the worker without what ``learnat`` and ``learnat.sql`` import: they are entered as bare packages."""

import sys
from pathlib import Path
from types import ModuleType

SQL = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    for name, folder in (("learnat", SQL.parent), ("learnat.sql", SQL)):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package

    from learnat.sql.execution_worker.service import main

    main()
