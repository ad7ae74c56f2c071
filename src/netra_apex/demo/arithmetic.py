"""Arithmetic from a person's text, without running code and within bounds."""

import ast
import math

MAX_LENGTH = 200
MAX_DIGITS = 300
"""Digits of the largest number on the way: a power of powers would otherwise keep the machine busy for years."""

Number = int | float
_ONLY = "only numbers, + - * / // % ** and parentheses can be calculated"


class NotArithmetic(ValueError):
    """The text cannot be calculated; `str(error)` is a sentence for a person."""


def calculate(expression: str) -> str:
    """The value of an expression of numbers, + - * / // % ** and parentheses, as text.

    Raises:
        NotArithmetic: it is something else, divides by zero, or grows beyond 300 digits.
    """
    text = expression.strip().rstrip("=?! ").replace("^", "**")
    if not text or len(text) > MAX_LENGTH:
        raise NotArithmetic(f"an expression has 1 to {MAX_LENGTH} characters")
    try:
        value = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError) as error:  # the second for NUL, in some versions of Python 3.11
        raise NotArithmetic(f"{text!r} is not arithmetic: use numbers, + - * / // % ** and parentheses") from error
    except ZeroDivisionError as error:
        raise NotArithmetic(f"{text!r} divides by zero") from error
    except OverflowError as error:
        raise NotArithmetic(f"{text!r} is too large") from error
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return f"{text} = {value:.12g}" if isinstance(value, float) else f"{text} = {value}"


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=sign, right=right):
            return _bounded(_applied(sign, _value(left), _value(right)))
        case _:
            raise NotArithmetic(_ONLY)


def _applied(sign: ast.operator, left: Number, right: Number) -> Number:
    match sign:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case _:
            raise NotArithmetic(_ONLY)


def _power(base: Number, exponent: Number) -> Number:
    # Judged before it is carried out: computing 9**9**9 is what must not happen.
    if base and abs(exponent * math.log10(abs(base))) > MAX_DIGITS:
        raise NotArithmetic(f"the result has more than {MAX_DIGITS} digits")
    value: object = base**exponent
    if isinstance(value, complex):
        raise NotArithmetic("a root of a negative number is not a real number")
    assert isinstance(value, int | float)
    return _bounded(value)


def _bounded(value: Number) -> Number:
    if (isinstance(value, float) and not math.isfinite(value)) or abs(value) > 10**MAX_DIGITS:
        raise NotArithmetic(f"the result has more than {MAX_DIGITS} digits")
    return value
