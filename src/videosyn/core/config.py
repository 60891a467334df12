"""Frozen dataclasses to and from mappings and JSON, strictly: an unknown key is an error, never ignored. Torch-free."""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from videosyn.core.errors import UserError

Config = TypeVar("Config")


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass -> a mapping that JSON can hold (tuples become lists, nested dataclasses mappings, paths strings)."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_dict(cls: type[Config], mapping: Mapping[str, Any], where: str = "") -> Config:
    """A mapping -> an instance of the dataclass `cls`.

    Keys that begin with "_" are notes (`_class_name`) and are skipped; every other key must be a field, every field
    without a default must be present, and values must have the field's type. `where` prefixes messages, e.g. a file.
    Raises UserError, also for what the dataclass itself refuses in `__post_init__`.
    """
    prefix = f"{where}: " if where else ""
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # pyright: ignore[reportArgumentType]
    given = {key: value for key, value in mapping.items() if not key.startswith("_")}
    if unknown := sorted(set(given) - set(fields)):
        raise UserError(f"{prefix}unknown key {unknown[0]!r} for {cls.__name__}: it has {', '.join(fields)}")
    missing = [name for name, field in fields.items() if name not in given and _required(field)]
    if missing:
        raise UserError(f"{prefix}{cls.__name__} needs {', '.join(missing)}")
    hints = typing.get_type_hints(cls)
    values = {name: _typed(hints[name], value, f"{prefix}{name}") for name, value in given.items()}
    try:
        return cls(**values)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{prefix}{error}") from error


def save_json(config: Any, path: str | os.PathLike) -> None:
    """Writes a dataclass as JSON with its `_class_name` first, as diffusers does."""
    write_json({"_class_name": type(config).__name__.removesuffix("Config"), **to_dict(config)}, path)


def write_json(mapping: Mapping[str, Any], path: str | os.PathLike) -> None:
    """One mapping as an indented JSON file."""
    Path(path).write_text(json.dumps(mapping, indent=2) + "\n", encoding="utf-8")


def load_json(cls: type[Config], path: str | os.PathLike) -> Config:
    """Reads what `save_json` wrote. A UserError for a missing or damaged file, and for another class's file."""
    mapping = read_json(path)
    name = cls.__name__.removesuffix("Config")
    if mapping.get("_class_name") != name:
        raise UserError(f"{path} must describe a {name}, but its _class_name is {mapping.get('_class_name')!r}")
    return from_dict(cls, mapping, where=str(path))


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """A JSON file that holds one mapping. A UserError where it is missing or damaged."""
    try:
        mapping = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged (not JSON: {error})") from error
    if not isinstance(mapping, dict):
        raise UserError(f"{path} must hold a JSON object, got {type(mapping).__name__}")
    return mapping


def load_yaml(cls: type[Config], path: str | os.PathLike) -> Config:
    """A YAML file -> a dataclass; a UserError names an unknown key, a wrong type, or what is wrong with the file."""
    import yaml

    try:
        mapping = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(mapping, dict):
        example = dataclasses.fields(cls)[0].name  # pyright: ignore[reportArgumentType]
        raise UserError(f"{path} must hold fields such as `{example}: ...`, got {type(mapping).__name__}")
    return from_dict(cls, mapping, where=str(path))


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, os.PathLike) else value


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint` wants it, or a UserError. Lists become tuples and ints floats where that is asked."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _typed_union(args, value, where)
    if origin is typing.Literal:
        if value not in args:
            raise UserError(f"{where} must be one of {', '.join(map(repr, args))}, got {value!r}")
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, hint):
            return value
        if isinstance(value, Mapping):
            return from_dict(hint, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _typed_tuple(args, value, where)
    if origin is list and isinstance(value, (list, tuple)):
        return [_typed(args[0], item, f"{where}[{index}]") for index, item in enumerate(value)]
    if origin is dict and isinstance(value, Mapping):
        return {_typed(args[0], key, where): _typed(args[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    kind = origin or hint
    if isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise UserError(f"{where} must be {_name(hint)}, got {value!r}")


def _typed_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    options = tuple(option for option in options if option is not type(None))
    for option in sorted(options, key=lambda option: option is float):  # an int stays an int where both are allowed
        try:
            return _typed(option, value, where)
        except UserError:
            if len(options) == 1:
                raise
    raise UserError(f"{where} must be {' or '.join(map(_name, options))}, got {value!r}")


def _typed_tuple(items: tuple[Any, ...], value: typing.Sequence[Any], where: str) -> tuple[Any, ...]:
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise UserError(f"{where} must have {len(items)} values, got {len(value)}")
    return tuple(_typed(item, each, f"{where}[{index}]") for index, (item, each) in enumerate(zip(items, value)))


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
