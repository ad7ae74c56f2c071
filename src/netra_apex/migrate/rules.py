"""The rules: their codes, what each is about, and how to mend what it finds."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule; one that is not `on` is looked at only when it is selected."""

    code: str
    title: str
    why: str
    mend: str
    on: bool = True


FAMILIES: Mapping[str, str] = MappingProxyType({
    "C": "import cycles",
    "D": "deprecated imports and uses",
    "E": "files that do not parse",
    "G": "shared state",
    "I": "interface conformance",
    "M": "shadowed modules",
    "P": "forbidden patterns",
    "R": "unresolved imports",
    "S": "names in strings",
    "U": "duplicate roles",
    "X": "suppressions and baseline",
})  # fmt: skip

_ALL = (
    Rule("C001", "modules import each other as they are loaded",
         "Which of them is loaded first decides whether names are there; a change elsewhere breaks it.",
         "Move what both need into a module below them, or import it where it is used."),
    Rule("C002", "a cycle that only imports in functions close",
         "It loads, but none of the modules can be understood, tested or moved alone.",
         "Turn the dependency around, with a port below both."),
    Rule("C003", "a cycle that only imports for typing close",
         "It costs nothing as the program runs, and shows that two modules know each other.",
         "Move the types that both need below them.", on=False),
    Rule("D001", "a deprecated symbol is imported", "Another symbol is the one of this role.",
         "Import the canonical symbol; the plan of the migration shows what can be done by itself."),
    Rule("D002", "a deprecated symbol is imported by way of a re-export",
         "A search for its name does not find it: the chain shows each module on the way.",
         "Import the canonical symbol from where it is defined."),
    Rule("D003", "a deprecated symbol is used", "Another symbol is the one of this role.",
         "Use the canonical symbol; a call may need other arguments."),
    Rule("D004", "a facade passes a deprecated symbol on",
         "As long as it is in `__all__`, assigned to another name or imported for others, it spreads.",
         "Let the facade go last, once nobody takes the name from it."),
    Rule("D005", "a class is derived from a deprecated one",
         "It inherits what is to go, and its `super()` calls and overrides fit the old class.",
         "Derive it from the canonical class and look at each override by hand."),
    Rule("D006", "a call fits neither the deprecated signature nor the new one",
         "It fails as it is carried out, or always did so.",
         "Look at the call by hand: a tool cannot know what was meant."),
    Rule("E001", "a file does not parse", "Nothing but its import lines is known, and only as lines.",
         "Mend it, or exclude it if it is not meant for this Python."),
    Rule("E002", "a file cannot be read", "Nothing is known of it.", "Give the right to read it, or exclude it."),
    Rule("G001", "a module's value is changed by functions",
         "All users of a process share it: what one leaves in it, the next one finds.",
         "Hand the value to whoever needs it, or keep it in the run's own scope."),
    Rule("G002", "a function rebinds a module's name", "As G001; and whoever imported the name keeps the old value.",
         "Return the value, or keep it in an object that is passed on."),
    Rule("G003", "a class's value is changed", "All instances share it, those of other users too.",
         "Make it in `__init__`, or make it a tuple or a frozen mapping."),
    Rule("G004", "a module's value could be changed", "Nobody was seen changing it.",
         "Make it a tuple, a frozenset or a MappingProxyType.", on=False),
    Rule("I001", "a class lacks what its interface asks for", "It fails when it is made or called.",
         "Write the method."),
    Rule("I002", "a method is async where its interface's is not, or the other way round",
         "A caller awaits what cannot be awaited, or gets a coroutine that nobody awaits.",
         "Make it as the interface has it."),
    Rule("I003", "a method takes other arguments than its interface's",
         "A call that fits the interface does not fit this class.",
         "Take the same parameters in the same order; further ones need a default."),
    Rule("M001", "a module that a package hides", "Python takes the package: nothing in the module is ever run.",
         "Delete one of them."),
    Rule("M002", "a module at the root has a name of the standard library",
         "Started from there, Python imports this one in its place, in other packages too.", "Rename it."),
    Rule("M003", "a module that another root hides", "The first root has a module of the same name.",
         "Rename one of them, or give each a package of its own."),
    Rule("P001", "code that the project forbids", "The project's configuration says so.", "As its message says."),
    Rule("R001", "a module that is not there", "The import fails.", "Import it from where it is now."),
    Rule("R002", "a name that its module does not have", "The import fails.", "Import it from where it is now."),
    Rule("R003", "a package that is not installed", "The import fails in this environment.",
         "Install it, or guard the import."),
    Rule("S001", "a string names a deprecated symbol",
         "`patch`, a settings file or a plugin looks it up as the program runs; a rename does not reach it.",
         "Name the canonical symbol, where the consumer looks it up."),
    Rule("S002", "a string names what its module does not have", "The lookup fails when it is tried.",
         "Name what is there."),
    Rule("U001", "several modules define a class of one name", "A reader cannot know which is the right one.",
         "Choose one as canonical, and list the others as deprecated in ssot.toml."),
    Rule("U002", "several classes have one role", "Their names differ in nothing but a prefix or suffix.",
         "Choose one as canonical, and list the others as deprecated in ssot.toml."),
    Rule("X001", "a suppression suppresses nothing", "What it was for has gone, or it stands at the wrong line.",
         "Delete it."),
    Rule("X002", "a suppression gives no reason", "Nobody can tell later whether it still holds.",
         "Write the reason behind the bracket."),
    Rule("X003", "a suppression names no rule", "It would hide what nobody has seen yet.",
         "Name the rules: `# ssot: ignore[D001] reason`."),
    Rule("X004", "the baseline knows a finding that is no more", "It could come back unseen.",
         "Write the baseline anew: it only shrinks."),
)  # fmt: skip

RULES: Mapping[str, Rule] = MappingProxyType({rule.code: rule for rule in _ALL})
