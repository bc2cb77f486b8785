"""Import what a dotted path names."""

import importlib
from types import ModuleType
from typing import Any

from eventinit.errors import DottedPathError
from eventinit.suggestion import did_you_mean


def import_dotted(path: str) -> Any:
    """Return the object at ``package.module.Name`` or ``package.module:Name.inner``.

    Raises:
        DottedPathError: No such module or name, or the module fails while it is imported.
    """
    module_path, separator, names = path.partition(":")
    if separator:
        return _walk(_import(module_path, path), names, path)
    module_path, separator, name = path.rpartition(".")
    if not separator:
        raise DottedPathError(path, "is no dotted path; write 'my_module.MyClass' or 'my_module:MyClass'")
    return _walk(_import(module_path, path), name, path)


def _import(module_path: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name and module_path.startswith(error.name):
            raise DottedPathError(path, f"there is no module {error.name!r}; is its folder on PYTHONPATH?") from error
        raise DottedPathError(path, f"importing {module_path!r} failed: {error}") from error
    except Exception as error:
        problem = f"importing {module_path!r} failed: {type(error).__name__}: {error}"
        raise DottedPathError(path, problem) from error
    except SystemExit as error:
        remedy = "put what only the script does under if __name__ == '__main__'"
        raise DottedPathError(path, f"importing {module_path!r} ended the process (exit {error}); {remedy}") from error


def _walk(module: ModuleType, names: str, path: str) -> Any:
    found: Any = module
    for name in names.split("."):
        if not hasattr(found, name):
            public = [known for known in dir(found) if not known.startswith("_")]
            raise DottedPathError(path, f"{module.__name__!r} has no {name!r}; {did_you_mean(name, public)}")
        found = getattr(found, name)
    return found


def dotted_path_of(thing: Any) -> str:
    """Return the path under which ``import_dotted`` finds a class or function."""
    return f"{thing.__module__}:{thing.__qualname__}"
