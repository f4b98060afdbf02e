"""Reading and writing the wire: strict in, exact out.

Nothing is coerced: `"false"` is no boolean, `7` no text, and an amount comes from its own digits,
not from a float. What does not fit is reported as a list of `{loc, msg, type}`, all fields at once.
"""

import json
import re
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from cattrs import BaseValidationError, Converter
from cattrs.cols import homogenous_tuple_structure_factory, is_sequence
from cattrs.dispatch import StructureHook
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_unstructure_fn, override

from orchestrator_entrypoints.wire import (
    ExactObject,
    FieldProblem,
    JsonObject,
    OrchestrationRequest,
    OrchestrationResult,
    Refusal,
    SignalOrderMapping,
    utc_text,
)

Body = TypeVar("Body")
Loc = tuple[str | int, ...]

# Decimal takes more than JSON or the contract does: blanks, underscores, digits of other scripts.
_AMOUNT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


class WrongShape(Exception):
    """A request that is not of the agreed form.

    Attributes:
        problems: Every field that does not fit.
    """

    def __init__(self, problems: Iterable[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.loc}: {problem.msg}" for problem in self.problems))


class _NoFit(ValueError):
    """One value that does not fit its field."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def wrong_shape(loc: Loc, message: str, kind: str) -> WrongShape:
    """Return the error of a single field."""
    return WrongShape([FieldProblem(loc=loc, msg=message, type=kind)])


def parse_body(body: bytes, kind: type[Body]) -> Body:
    """Return the body as `kind`.

    Raises:
        WrongShape: It is no JSON of that form.
    """
    document = _parse_json(body)
    if not isinstance(document, dict):
        raise wrong_shape(("body",), "Input should be an object", "object_type")
    try:
        parsed = _READER.structure(document, kind)
    except BaseValidationError as error:
        raise WrongShape(_problems(error, ("body",))) from None
    if isinstance(parsed, OrchestrationRequest) and not parsed.symbols:
        raise wrong_shape(("body", "symbols"), "List should have at least 1 item", "too_short")
    return parsed


def _parse_json(body: bytes) -> object:
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_distinct,
        )
    except _NoFit as problem:
        raise wrong_shape(("body",), str(problem), problem.kind) from None
    except (ValueError, RecursionError, ArithmeticError):
        raise wrong_shape(("body",), "Input should be valid JSON", "json_invalid") from None


def _refuse_constant(name: str) -> NoReturn:
    raise _NoFit(f"JSON has no {name}", "json_invalid")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _NoFit("An object should have each name once", "json_invalid")
    return document


def _problems(error: BaseException, loc: Loc) -> list[FieldProblem]:
    if not isinstance(error, ClassValidationError | IterableValidationError):
        return [_problem(error, loc)]
    found = []
    with_notes, without = error.group_exceptions()
    for inner, note in with_notes:
        found += _problems(inner, (*loc, _step(note)))
    for inner in without:
        found += _problems(inner, loc)
    return found


def _step(note: AttributeValidationNote | IterableValidationNote) -> str | int:
    if isinstance(note, AttributeValidationNote):
        return note.name
    return note.index if isinstance(note.index, int) else str(note.index)


def _problem(error: BaseException, loc: Loc) -> FieldProblem:
    if isinstance(error, _NoFit):
        return FieldProblem(loc=loc, msg=str(error), type=error.kind)
    if isinstance(error, KeyError):
        # A missing field is noted with its name by cattrs itself.
        return FieldProblem(loc=loc, msg="Field required", type="missing")
    return FieldProblem(loc=loc, msg="Input does not fit", type="invalid")


def _read_text(value: object, _: object) -> str:
    if not isinstance(value, str):
        raise _NoFit("Input should be text", "string_type")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _NoFit("Text should be valid Unicode", "string_unicode")
    return value


def _read_bool(value: object, _: object) -> bool:
    if not isinstance(value, bool):
        raise _NoFit("Input should be true or false", "bool_type")
    return value


def _read_decimal(value: object, _: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if type(value) is int:
        return Decimal(value)
    if isinstance(value, str) and (_AMOUNT.fullmatch(value) or _NOT_FINITE.fullmatch(value)):
        return Decimal(value)
    raise _NoFit("Input should be a number or a decimal string", "decimal_type")


def _read_exact(value: object, _: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _NoFit("Input should be an object", "object_type")
    return value


def _read_object(value: object, kind: object) -> dict[str, Any]:
    document = _read_exact(value, kind)
    return {name: _without_decimals(inner) for name, inner in document.items()}


def _without_decimals(value: Any) -> Any:
    if isinstance(value, Decimal):
        number = float(value)
        if not isfinite(number):
            raise _NoFit("A number is out of range", "finite_number")
        return number
    if isinstance(value, list):
        return [_without_decimals(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _without_decimals(inner) for name, inner in value.items()}
    return value


def _refuse_type(_value: object, kind: object) -> NoReturn:
    raise TypeError(f"no request has a field of {kind}")


def _build_reader() -> Converter:
    reader = Converter(detailed_validation=True)
    reader.register_structure_hook(str, _read_text)
    reader.register_structure_hook(bool, _read_bool)
    reader.register_structure_hook(Decimal, _read_decimal)
    reader.register_structure_hook(JsonObject, _read_object)
    reader.register_structure_hook(ExactObject, _read_exact)
    for unused in (int, float, UUID, date, datetime):
        reader.register_structure_hook(unused, _refuse_type)

    @reader.register_structure_hook_factory(is_sequence)
    def _strict_list(kind: Any, converter: Converter) -> StructureHook:
        read_items = homogenous_tuple_structure_factory(kind, converter)

        def read(value: object, kind: Any) -> Any:
            if not isinstance(value, list):
                raise _NoFit("Input should be a list", "list_type")
            return read_items(value, kind)

        return read

    return reader


def render(body: object) -> bytes:
    """Return the JSON of one of the wire's classes."""
    return json.dumps(to_plain(body), allow_nan=False, separators=(",", ":")).encode()


def to_plain(body: object) -> Any:
    """Return one of the wire's classes as JSON values."""
    return _WRITER.unstructure(body)


def _build_writer() -> Converter:
    writer = Converter()
    writer.register_unstructure_hook(Decimal, lambda amount: format(amount, "f"))
    writer.register_unstructure_hook(datetime, utc_text)
    writer.register_unstructure_hook(date, date.isoformat)
    writer.register_unstructure_hook(UUID, str)
    writer.register_unstructure_hook(JsonObject, dict)
    writer.register_unstructure_hook(
        SignalOrderMapping,
        make_dict_unstructure_fn(
            SignalOrderMapping,
            writer,
            attributions=override(omit_if_default=True),
            explanation=override(omit_if_default=True),
        ),
    )
    writer.register_unstructure_hook(
        OrchestrationResult,
        make_dict_unstructure_fn(
            OrchestrationResult, writer, allocation=override(omit_if_default=True)
        ),
    )
    write_refusal = make_dict_unstructure_fn(Refusal, writer)
    writer.register_unstructure_hook(
        Refusal,
        lambda refusal: {
            name: value for name, value in write_refusal(refusal).items() if value is not None
        },
    )
    return writer


_READER = _build_reader()
_WRITER = _build_writer()
