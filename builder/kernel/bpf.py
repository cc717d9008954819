"""System call filters as programs of the classic packet filter.

A filter is a list of rules; for each call the first rule whose conditions hold decides. Numbers of
calls with the same outcome form ranges, and a balanced tree of comparisons finds the range: about
ten instructions for most calls, and little for the kernel to translate.

Spec: seccomp(2), Documentation/userspace-api/seccomp_filter.rst.
"""

import itertools
import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Literal, TypeAlias

from builder.values import NamedTuple

ALLOW = 0x7FFF_0000
ERRNO = 0x0005_0000
KILL_THREAD = 0x0000_0000
KILL_PROCESS = 0x8000_0000
TRAP = 0x0003_0000
TRACE = 0x7FF0_0000
LOG = 0x7FFC_0000
_EPERM, _ENOSYS = 1, 38
DENY = ERRNO | _EPERM
ABSENT = ERRNO | _ENOSYS

Operator: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">=", "&=="]


class Condition(NamedTuple):
    """A test of one argument as an unsigned 64-bit number."""

    argument: int
    """0 to 5."""
    operator: Operator
    value: int
    mask: int = 0
    """Only for `&==`: the argument's bits under the mask equal the value."""


class Rule(NamedTuple):
    """What happens to some calls, if all conditions hold."""

    names: frozenset[str]
    action: int
    conditions: tuple[Condition, ...] = ()


_AUDIT = {
    "x86_64": 0xC000_003E,
    "i386": 0x4000_0003,
    "aarch64": 0xC000_00B7,
    "arm": 0x4000_0028,
}
_X32_BIT = 0x4000_0000
_LOAD, _JUMP, _JEQ, _JGT, _JGE, _RETURN, _AND = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06, 0x54
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_MAX_JUMP = 255
_WORD = 0xFFFF_FFFF
_PACK = struct.Struct("HBBI").pack

_Outcome: TypeAlias = tuple[tuple[tuple[Condition, ...], int], ...]
"""Pairs of conditions and action in order; the last has no conditions."""
_Instruction: TypeAlias = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant."""


@lru_cache(maxsize=4)
def call_numbers(machine: str) -> dict[str, int]:
    """Give the number of every system call of an architecture."""
    path = os.path.join(os.path.dirname(__file__), "syscalls.tbl")
    with open(path, encoding="utf-8") as file:
        machines = file.readline().split()[2:]
        words = file.read().split()
    width = len(machines) + 1
    numbers = words[machines.index(machine) + 1 :: width]
    pairs = zip(words[::width], numbers, strict=True)
    return {name: int(number) for name, number in pairs if number != "-"}


def assemble(rules: Sequence[Rule], default: int, machines: Sequence[str]) -> bytes:
    """Compile rules for some architectures; calls of any other are answered with ENOSYS.

    A call that none of the rules names gets the default. If that is an errno, a call newer than
    our table gets ENOSYS instead, so that programs fall back to older ones.
    """
    program: list[_Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE_OFFSET)]
    for machine in machines:
        body = _body(rules, default, machine)
        program += [(_JEQ, 1, 0, _AUDIT[machine]), (_JUMP, 0, 0, len(body)), *body]
    program.append((_RETURN, 0, 0, ABSENT))
    return b"".join(itertools.starmap(_PACK, program))


def _body(rules: Sequence[Rule], default: int, machine: str) -> list[_Instruction]:
    body: list[_Instruction] = [(_LOAD, 0, 0, _NUMBER_OFFSET)]
    if machine == "x86_64":
        body += [(_JGE, 0, 1, _X32_BIT), (_RETURN, 0, 0, ABSENT)]
    return body + _tree(_ranges(rules, default, call_numbers(machine)))


def _ranges(
    rules: Sequence[Rule], default: int, numbers: dict[str, int]
) -> list[tuple[int, _Outcome]]:
    """List the first number of each range of equal outcome, ascending from 0.

    Numbers that no call has belong to the range before: the kernel knows them no better.
    """
    outcomes: dict[str, list[tuple[tuple[Condition, ...], int]]] = {}
    for rule in rules:
        for name in rule.names:
            if name in numbers:
                outcomes.setdefault(name, []).append((rule.conditions, rule.action))
    ranges: list[tuple[int, _Outcome]] = []
    for name, number in sorted(numbers.items(), key=itemgetter(1)):
        outcome = _decided(outcomes.get(name, []), default)
        if not ranges:
            ranges.append((0, outcome))
        elif ranges[-1][1] != outcome:
            ranges.append((number, outcome))
    unknown = ABSENT if default & ~0xFFFF == ERRNO else default
    ranges.append((max(numbers.values()) + 1, (((), unknown),)))
    return ranges


def _decided(alternatives: list[tuple[tuple[Condition, ...], int]], default: int) -> _Outcome:
    """Cut what an unconditional alternative makes unreachable; end with the default."""
    outcome = []
    for conditions, action in alternatives:
        outcome.append((conditions, action))
        if not conditions:
            return tuple(outcome)
    return (*outcome, ((), default))


def _tree(ranges: list[tuple[int, _Outcome]]) -> list[_Instruction]:
    if len(ranges) == 1:
        return _leaf(ranges[0][1])
    middle = len(ranges) // 2
    left, right = _tree(ranges[:middle]), _tree(ranges[middle:])
    first = ranges[middle][0]
    if len(left) <= _MAX_JUMP:
        return [(_JGE, len(left), 0, first), *left, *right]
    return [(_JGE, 0, 1, first), (_JUMP, 0, 0, len(left)), *left, *right]


def _leaf(outcome: _Outcome) -> list[_Instruction]:
    code: list[_Instruction] = []
    for conditions, action in outcome:
        code += _alternative(conditions, action)
    return code


def _alternative(conditions: tuple[Condition, ...], action: int) -> list[_Instruction]:
    """Return the action if all conditions hold, else fall through to what follows."""
    code: list[_Instruction] = [(_RETURN, 0, 0, action)]
    for condition in reversed(conditions):
        code = _test(condition, len(code)) + code
    return code


def _test(condition: Condition, rest: int) -> list[_Instruction]:
    """Test one condition; if it fails, jump over the `rest` instructions that follow it."""
    low_offset = _ARGUMENTS_OFFSET + 8 * condition.argument  # little-endian machines only
    high, low = condition.value >> 32 & _WORD, condition.value & _WORD
    load_high, load_low = (_LOAD, 0, 0, low_offset + 4), (_LOAD, 0, 0, low_offset)
    match condition.operator:
        case "==":
            return [load_high, (_JEQ, 0, rest + 2, high), load_low, (_JEQ, 0, rest, low)]
        case "!=":
            return [load_high, (_JEQ, 0, 2, high), load_low, (_JEQ, rest, 0, low)]
        case "&==":
            return _masked_test(condition, rest, load_high, load_low)
        case ">" | ">=":
            last = _JGT if condition.operator == ">" else _JGE
            above = [load_high, (_JGT, 3, 0, high), (_JEQ, 0, rest + 2, high)]
            return [*above, load_low, (last, 0, rest, low)]
        case "<" | "<=":
            last = _JGE if condition.operator == "<" else _JGT
            below = [load_high, (_JGT, rest + 3, 0, high), (_JEQ, 0, 2, high)]
            return [*below, load_low, (last, rest, 0, low)]


def _masked_test(
    condition: Condition, rest: int, load_high: _Instruction, load_low: _Instruction
) -> list[_Instruction]:
    high, low = condition.value >> 32 & _WORD, condition.value & _WORD
    high_mask, low_mask = condition.mask >> 32 & _WORD, condition.mask & _WORD
    code = [load_low, (_AND, 0, 0, low_mask), (_JEQ, 0, rest, low)]
    if high_mask or high:
        code = [load_high, (_AND, 0, 0, high_mask), (_JEQ, 0, rest + len(code), high), *code]
    return code
