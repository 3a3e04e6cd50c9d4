__version__ = "0.1.0"

_door = {"remove": "tool.remove", "remove_many": "tool.remove", "remove_folder": "tool.folders", "Remover": "removal",
         "BgRemoverError": "base.errors"}
__all__ = [*_door]


def __getattr__(name: str):
    "The names that programs want first, each imported when it is first used: `import bg_remover` alone stays light."
    if name not in _door: raise AttributeError(f"module 'bg_remover' has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(f"bg_remover.{_door[name]}"), name)
