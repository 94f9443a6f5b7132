"""Go's pipelines, terms and variables: what each stands for, as a `Symbol`."""

from __future__ import annotations

from agent.migrating import functions
from agent.migrating.go_tree import (
    Chain,
    Command,
    Dot,
    Function,
    Literal,
    Pipeline,
    Term,
    Variable,
)
from agent.migrating.secret_book import SecretBook
from agent.migrating.symbols import (
    Certificate,
    Code,
    Data,
    Fields,
    Nothing,
    Secret,
    Symbol,
    Untranslatable,
    code_of,
    text_code,
)


class Expressions:
    """Evaluates with a dot and scopes of variables; secrets that are asked for go into the book.

    `remarks` tell of functions whose result looks otherwise.
    """

    def __init__(self, book: SecretBook, place: str) -> None:
        self._book, self._place = book, place
        self._scopes: list[dict[str, Symbol]] = [{}]
        self.dot: Symbol = Nothing()
        self.remarks: list[str] = []

    # --- scopes -------------------------------------------------------------------------------

    def enter(self) -> tuple[int, Symbol]:
        """A scope of its own, until `leave` gets what this gave."""
        self._scopes.append({})
        return len(self._scopes) - 1, self.dot

    def leave(self, before: tuple[int, Symbol]) -> None:
        depth, self.dot = before
        del self._scopes[depth:]

    def bind(self, name: str, symbol: Symbol) -> None:
        self._scopes[-1][name] = symbol

    def variable(self, name: str) -> Symbol:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if not name:
            return Nothing()
        raise Untranslatable(f"${name} is not set before")

    # --- values -------------------------------------------------------------------------------

    def value(self, pipeline: Pipeline) -> Symbol:
        """Of the commands; whoever asks sees to the variables."""
        first, *rest = pipeline.commands
        value = self._command(first, ())
        for command in rest:
            value = self._command(command, (value,))
        return value

    def _command(self, command: Command, piped: tuple[Symbol, ...]) -> Symbol:
        head, *terms = command.terms
        if isinstance(head, Function):
            return self._call(head.name, [*map(self.term, terms), *piped])
        if terms or piped:
            raise Untranslatable("a value is called like a function")
        return self.term(head)

    def term(self, term: Term) -> Symbol:
        match term:
            case Dot():
                return self.dot
            case Literal(kind, text):
                return _constant(kind, text)
            case Variable(name):
                return self.variable(name)
            case Function(name):
                return self._call(name, [])
            case Pipeline():
                if term.variables:
                    raise Untranslatable("a variable is set inside of an expression")
                return self.value(term)
            case Chain(base, fields):
                value = self.term(base)
                for each in fields:
                    value = value.field(each)
                return value

    def _call(self, name: str, arguments: list[Symbol]) -> Symbol:
        if name in ("secret", "pkiCert"):
            return self._secret(name, [code_of(each) for each in arguments])
        if name == "index" and arguments:
            return _indexed(*arguments)
        if name in functions.LOOKS_OTHERWISE:
            self.remarks.append(f"{name}: {functions.LOOKS_OTHERWISE[name]}")
        return functions.translated(name, [code_of(each) for each in arguments])

    def _secret(self, name: str, arguments: list[Code]) -> Symbol:
        fixed = [each.fixed for each in arguments if each.fixed is not None]
        if not fixed or len(fixed) < len(arguments):
            raise Untranslatable(f"{name}: only with a path and parameters that stand there")
        path, *pairs = fixed
        if not path.partition("?")[0].strip("/ "):
            raise Untranslatable(f"{name}: the path is empty")
        is_write = bool(pairs) or name == "pkiCert"
        parameters = _parameters(name, pairs) if is_write else None
        wanted = self._book.secret(path, parameters, self._place)
        return Secret(wanted) if name == "secret" else Certificate(wanted)


def _parameters(name: str, pairs: list[str]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for pair in filter(None, pairs):
        key, sign, value = pair.partition("=")
        if not sign or "${" in key or not key.strip():
            raise Untranslatable(f"{name}: each parameter is key=value")
        parameters[key.strip()] = value.strip()
    return parameters


def _constant(kind: str, text: str) -> Symbol:
    match kind:
        case "text":
            return text_code(text)
        case "nil":
            return Nothing()
        case "true" | "false":
            return Code(kind)
    return Code(_number(text), kind="number", literal=text)


def _number(text: str) -> str:
    """As Jinja has it: Go's may be octal or hexadecimal."""
    plain = text.replace("_", "").removeprefix("+")
    digits = plain.removeprefix("-")
    sign = plain[: len(plain) - len(digits)]
    try:
        if digits[:2].lower() == "0x":
            return f"{sign}{int(digits, 16)}"
        if digits.isdigit():
            return f"{sign}{int(digits, 8 if digits.startswith('0') else 10)}"
        return repr(float(plain))
    except ValueError:
        raise Untranslatable("a number that can't be read") from None


def _indexed(value: Symbol, *keys: Symbol) -> Symbol:
    """Of what is in a secret by its name, of all else by Jinja's own index."""
    codes = [code_of(key) for key in keys]
    while codes and not isinstance(value, Code):
        key = codes.pop(0)
        if key.literal is not None and key.kind != "number":
            value = value.field(key.literal)
        elif isinstance(value, Data | Fields):
            value = functions.translated("index", [value.whole, key])
        else:
            raise Untranslatable("index: only with a literal name")
    return functions.translated("index", [code_of(value), *codes]) if codes else value
