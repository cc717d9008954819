"""Programs are run by a small interpreter here, and one by the kernel in test_seccomp."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.kernel import bpf
from builder.kernel.bpf import ABSENT, ALLOW, DENY, ERRNO, Condition, Rule

X86_64, AARCH64 = 0xC000003E, 0xC00000B7
_OPERATORS: tuple[bpf.Operator, ...] = ("==", "!=", "<", "<=", ">", ">=")


def run(program: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Run a filter as the kernel does; return the action."""
    filled = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number, architecture, 0, *filled)
    instructions = list(struct.iter_unpack("HBBI", program))
    position = accumulator = 0
    while True:
        code, if_true, if_false, constant = instructions[position]
        position += 1
        if code == 0x20:
            accumulator = int.from_bytes(data[constant : constant + 4], "little")
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x05:
            position += constant
        elif code == 0x06:
            return int(constant)
        else:
            holds = {
                0x15: accumulator == constant,
                0x25: accumulator > constant,
                0x35: accumulator >= constant,
            }[code]
            position += if_true if holds else if_false


def holds(condition: Condition, value: int) -> bool:
    """Say what a condition means."""
    outcomes: dict[bpf.Operator, bool] = {
        "==": value == condition.value,
        "!=": value != condition.value,
        "<": value < condition.value,
        "<=": value <= condition.value,
        ">": value > condition.value,
        ">=": value >= condition.value,
        "&==": value & condition.mask == condition.value,
    }
    return outcomes[condition.operator]


_numbers = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1]),
)


@given(st.sampled_from(_OPERATORS), _numbers, _numbers, st.integers(0, 5))
def test_conditions_compare_64_bits(
    operator: bpf.Operator, value: int, argument: int, index: int
) -> None:
    condition = Condition(index, operator, value)
    rules = [Rule(frozenset({"read"}), ALLOW, (condition,))]
    arguments = [0] * 6
    arguments[index] = argument

    action = run(bpf.assemble(rules, DENY, ("x86_64",)), X86_64, 0, tuple(arguments))

    assert (action == ALLOW) == holds(condition, argument)


@given(_numbers, _numbers, _numbers)
def test_masks_compare_64_bits(mask: int, value: int, argument: int) -> None:
    condition = Condition(2, "&==", value, mask)
    rules = [Rule(frozenset({"read"}), ALLOW, (condition,))]

    action = run(bpf.assemble(rules, DENY, ("x86_64",)), X86_64, 0, (0, 0, argument))

    assert (action == ALLOW) == holds(condition, argument)


_some_calls = st.frozensets(st.sampled_from(sorted(bpf.call_numbers("x86_64"))), max_size=60)


@given(_some_calls, _some_calls)
def test_every_call_gets_the_first_rule_that_names_it(
    allowed: frozenset[str], hidden: frozenset[str]
) -> None:
    program = bpf.assemble([Rule(allowed, ALLOW), Rule(hidden, ABSENT)], DENY, ("x86_64",))

    for name, number in bpf.call_numbers("x86_64").items():
        expected = ALLOW if name in allowed else ABSENT if name in hidden else DENY
        assert run(program, X86_64, number) == expected


def test_all_conditions_of_a_rule_must_hold() -> None:
    conditions = (Condition(0, "==", 1), Condition(1, ">", 5))
    program = bpf.assemble([Rule(frozenset({"read"}), ALLOW, conditions)], DENY, ("x86_64",))

    assert run(program, X86_64, 0, (1, 6)) == ALLOW
    assert run(program, X86_64, 0, (1, 5)) == DENY
    assert run(program, X86_64, 0, (0, 6)) == DENY


def test_conditional_rules_before_a_plain_one_are_exceptions() -> None:
    rules = [
        Rule(frozenset({"read"}), ERRNO | 9, (Condition(0, "==", 7),)),
        Rule(frozenset({"read"}), ALLOW),
    ]
    program = bpf.assemble(rules, DENY, ("x86_64",))

    assert (run(program, X86_64, 0, (7,)), run(program, X86_64, 0, (8,))) == (ERRNO | 9, ALLOW)


@pytest.mark.parametrize("number", [470, 511, 512, 5000, 0x40000000, 0x40000001, 0xFFFFFFFF])
def test_unknown_calls_look_absent(number: int) -> None:
    program = bpf.assemble([], DENY, ("x86_64",))

    assert run(program, X86_64, number - (1 << 32) if number >> 31 else number) == ABSENT


def test_unknown_calls_get_the_default_of_a_list_of_refusals() -> None:
    program = bpf.assemble([Rule(frozenset({"mount"}), DENY)], ALLOW, ("x86_64",))

    assert (run(program, X86_64, 5000), run(program, X86_64, 165)) == (ALLOW, DENY)


def test_programs_of_other_machines_find_no_call() -> None:
    program = bpf.assemble([Rule(frozenset({"read"}), ALLOW)], DENY, ("x86_64",))

    assert run(program, AARCH64, 0) == ABSENT


def test_numbers_are_those_of_the_machine() -> None:
    numbers = {
        machine: bpf.call_numbers(machine) for machine in ("x86_64", "i386", "aarch64", "arm")
    }

    assert [table["openat"] for table in numbers.values()] == [257, 295, 56, 322]
    assert [table["mseal"] for table in numbers.values()] == [462] * 4
    assert "open" not in numbers["aarch64"]


def test_a_program_of_many_ranges_is_valid() -> None:
    names = sorted(bpf.call_numbers("x86_64"), key=bpf.call_numbers("x86_64").__getitem__)
    rules = [
        Rule(frozenset({name}), ERRNO | number % 7 + 1, (Condition(0, "==", number),))
        for number, name in enumerate(names)
    ]
    program = bpf.assemble(rules, ALLOW, ("x86_64",))

    for number, name in enumerate(names):
        call = bpf.call_numbers("x86_64")[name]
        assert run(program, X86_64, call, (number,)) == ERRNO | number % 7 + 1
        assert run(program, X86_64, call, (number + 1,)) == ALLOW
    assert len(program) // 8 < 4096
