"""Named tuples that cost little to define: what a build imports has two hundred of them.

`typing.NamedTuple` checks every annotation and compiles a constructor for every class, 60 us in
all; here a definition takes 10, and a constructor is made when the first value is, of one that is
compiled for all with as many fields. To a type checker, and in use, they are the same.
"""

from _collections import _tuplegetter  # type: ignore[import-not-found]  # as collections does
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - exported
else:

    class Value(tuple):
        """What all named tuples share."""

        __slots__ = ()
        _fields: tuple[str, ...] = ()
        _field_defaults: dict[str, Any] = {}  # noqa: RUF012 - as collections.namedtuple has it

        def __new__(cls, *values: Any, **named: Any) -> Self:
            """Compile the constructor, and construct with it from now on."""
            owner = next(kind for kind in cls.__mro__ if "_fields" in kind.__dict__)
            owner.__new__ = staticmethod(_constructor(owner))
            return cls.__new__(cls, *values, **named)

        @classmethod
        def _make(cls, values: Any) -> Self:
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(made)}")
            return made

        def _replace(self, /, **changes: Any) -> Self:
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"{type(self).__name__} has no fields {list(changes)}")
            return made

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            shown = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({shown})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

    class _Definition(type):
        """The metaclass of the base only: what it makes are ordinary classes."""

        def __new__(cls, name: str, _bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            for position, field in enumerate(fields):
                namespace[field] = _tuplegetter(position, "")
            namespace["__slots__"] = ()
            namespace["__match_args__"] = namespace["_fields"] = fields
            namespace["_field_defaults"] = defaults
            namespace.pop("__orig_bases__", None)
            return type.__new__(type, name, (Value,), namespace)

    class _Marker:
        """Stands in a class statement for the base of the named tuple being defined."""

        def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[type]:
            return (_BASE,)

    _BASE = type.__new__(_Definition, "NamedTuple", (), {})
    NamedTuple = _Marker()

    def _constructor(kind: type[Value]) -> Any:
        """Make `__new__` of a named tuple: that of all with as many fields, by its own names."""
        fields = kind._fields
        pattern = _pattern(len(fields))
        code = pattern.__code__.replace(
            co_varnames=("_cls", *fields),
            co_name="__new__",
            co_qualname=f"{kind.__qualname__}.__new__",
        )
        defaults = tuple(kind._field_defaults.values())
        return FunctionType(code, pattern.__globals__, "__new__", defaults)

    @cache
    def _pattern(number: int) -> Any:
        """Compile the constructor of a number of fields: it takes 20 us, other names for them 1."""
        names = "".join(f"_{position}, " for position in range(number))
        source = f"lambda _cls, {names}: _new(_cls, ({names}))"
        return eval(source, {"_new": tuple.__new__, "__builtins__": {}})  # noqa: S307 - ours alone
