"""Put calls into the code under test, so that the stepper hears of each line and of each access to something shared.

``self._count += 1`` becomes, in short::

    __step__.line(1)
    __step__.reads(self)._count += __step__.sets(1)

The syntax tree is changed and not the text, so line numbers and tracebacks stay as they are. Bytecode differs from one
Python to the next, but the tree of a file does not: that is why a schedule means the same on all of them.
"""

from __future__ import annotations

import ast
import tokenize
from dataclasses import dataclass

NAME = "__step__"  # what the code under test calls; two underscores at the end, so that a class does not mangle it
KEPT = {"super", "locals", "globals", "vars", "dir", "eval", "exec"}  # these look at the frame that calls them
_known: dict = {}  # code and places of each file and text


@dataclass
class Place:
    """Where a call was put."""

    file: str
    line: int
    does: str  # in words: "sets self._count"
    text: str  # "self._count"
    name: str  # of the attribute: "_count"


def rewrite(file: str):
    """The code of a file with the calls in it, and their places; a call gives the index of its place."""
    with tokenize.open(file) as source:
        text = source.read()
    if (file, text) not in _known:
        rewriter = _Rewriter(file)
        tree = ast.fix_missing_locations(rewriter.visit(ast.parse(text, file)))
        _known[file, text] = compile(tree, file, "exec"), rewriter.places
    return _known[file, text]


class _Rewriter(ast.NodeTransformer):
    def __init__(self, file):
        self.file = file
        self.places = []
        self.sources = {}  # the text of each expression as it was
        self.inside = 0  # functions around the current node; what is outside of all of them runs before the threads
        self.modules = set()  # names of imported modules
        self.rebound = set()  # global and nonlocal names that functions change

    def visit_Module(self, node):
        for each in ast.walk(node):
            if isinstance(each, ast.Import):
                self.modules |= {alias.asname or alias.name.partition(".")[0] for alias in each.names}
            elif isinstance(each, (ast.Global, ast.Nonlocal)):
                self.rebound |= set(each.names)
            elif isinstance(each, ast.expr):
                self.sources[each] = ast.unparse(each)
        node.body = [self.visit(each) for each in node.body if not _starts_program(each)]
        return node

    # --- lines ------------------------------------------------------------------------------------------------

    def block(self, body, first=None):
        """Put the line's call before each statement, and before all of them the call ``first``."""
        new = []
        for at, node in enumerate(body):
            docstring = at == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if docstring or isinstance(node, (ast.Global, ast.Nonlocal)):
                new.append(node)
                continue
            calls = [first] if first else []
            if self.inside and not isinstance(node, ast.Try):  # "try:" does nothing
                calls.append(self.hook("line", node))
            new += [ast.copy_location(ast.Expr(call), node) for call in calls]
            new.append(self.visit(node))
            first = None
        return new

    def visit_FunctionDef(self, node):
        self.inside += 1
        node.body = self.block(node.body, self.hook("begins", node))
        self.inside -= 1
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        self.inside += 1
        node.body = self.visit(node.body)
        self.inside -= 1
        return node

    def visit_If(self, node):
        node.test = self.truth(node.test)
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        return node

    def visit_While(self, node):
        if self.inside:
            turn = self.hook("again", node, shown=not isinstance(node.test, ast.Constant))
            node.test = ast.copy_location(ast.BoolOp(ast.And(), [turn, self.truth(node.test)]), node.test)
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        return node

    def visit_For(self, node):
        node.iter = self.wrap("each", self.visit(node.iter), node.iter, f"takes the next of {self.sources[node.iter]}")
        if self.inside:
            node.iter.keywords = [ast.keyword("shown", ast.Constant(True))]
        node.target = self.visit(node.target)
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        return node

    def visit_comprehension(self, node):
        node.iter = self.wrap("each", self.visit(node.iter), node.iter, f"takes the next of {self.sources[node.iter]}")
        node.ifs = [self.truth(each) for each in node.ifs]
        return node

    def visit_With(self, node):
        for item in node.items:
            old = item.context_expr
            item.context_expr = self.wrap("block", self.visit(old), old, f"enters {self.sources[old]}")
        node.body = self.block(node.body)
        return node

    def visit_Try(self, node):
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        for handler in node.handlers:
            handler.body = self.block(handler.body)
        node.finalbody = self.block(node.finalbody)
        return node

    visit_TryStar = visit_Try

    def visit_match_case(self, node):
        node.guard = node.guard and self.truth(node.guard)
        node.body = self.block(node.body)
        return node

    # --- accesses ---------------------------------------------------------------------------------------------

    def visit_Attribute(self, node):
        verb = {ast.Load: "reads", ast.Store: "sets", ast.Del: "deletes"}[type(node.ctx)]
        old, node.value = node.value, self.visit(node.value)
        if not (isinstance(old, ast.Name) and old.id in self.modules):
            node.value = self.wrap("at", node.value, node, f"{verb} {self.sources[node]}")
        return node

    def visit_Subscript(self, node):
        verb = {ast.Load: "reads", ast.Store: "sets", ast.Del: "deletes"}[type(node.ctx)]
        does = f"{verb} {self.sources[node]}"
        looks = any(isinstance(each, (ast.Attribute, ast.Subscript, ast.Call)) for each in ast.walk(node.slice))
        node.value, node.slice = self.visit(node.value), self.visit(node.slice)
        if looks and not isinstance(node.slice, ast.Slice):  # the point is after the look, directly before the access
            node.slice = self.wrap("value", node.slice, node, does)
        else:
            node.value = self.wrap("at", node.value, node, does)
        return node

    def visit_Call(self, node):
        function, does = node.func, f"calls {self.sources[node.func]}()"
        if isinstance(function, ast.Attribute):  # to look a method up is not yet to use its object
            function.value = self.visit(function.value)
        elif not isinstance(function, ast.Name):
            node.func = self.visit(function)
        node.args = [self.visit(each) for each in node.args]
        node.keywords = [self.visit(each) for each in node.keywords]
        if not self.inside or (isinstance(function, ast.Name) and function.id in KEPT):
            return node
        hook = self.hook("call", node, does)
        hook.args += [node.func, *node.args]
        hook.keywords = node.keywords
        return hook

    def visit_Compare(self, node):
        for at, (how, each) in enumerate(zip(node.ops, node.comparators, strict=True)):
            new = self.visit(each)
            if isinstance(how, (ast.In, ast.NotIn)):
                new = self.wrap("at", new, each, f"looks into {self.sources[each]}")
            node.comparators[at] = new
        node.left = self.visit(node.left)
        return node

    def visit_Name(self, node):
        if not self.inside or node.id not in self.rebound or not isinstance(node.ctx, ast.Load):
            return node
        before = self.hook("before", node, f"reads {node.id}")
        both = ast.Tuple([before, node], ast.Load())
        return ast.copy_location(ast.Subscript(both, ast.Constant(1), ast.Load()), node)

    def visit_Assign(self, node):
        node.value = self.visit(node.value)
        names = [each.id for each in node.targets if isinstance(each, ast.Name) and each.id in self.rebound]
        if names:
            node.value = self.wrap("value", node.value, node, f"sets {names[0]}")
        node.targets = [self.visit(each) for each in node.targets]
        return node

    def visit_AnnAssign(self, node):
        node.value = node.value and self.visit(node.value)
        node.target = self.visit(node.target)
        return node

    def visit_AugAssign(self, node):
        node.value = self.visit(node.value)
        if not isinstance(node.target, ast.Name) or node.target.id in self.rebound:
            node.value = self.wrap("value", node.value, node, f"sets {self.sources[node.target]}")
        node.target = self.visit(node.target)
        return node

    def visit_BoolOp(self, node):
        node.values = [self.truth(each) for each in node.values]
        return node

    def visit_IfExp(self, node):
        node.test, node.body, node.orelse = self.truth(node.test), self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_UnaryOp(self, node):
        node.operand = self.truth(node.operand) if isinstance(node.op, ast.Not) else self.visit(node.operand)
        return node

    def truth(self, node):
        """An expression that is only asked whether it is true: a name may stand for a shared list."""
        new = self.visit(node)
        return self.wrap("at", new, node, f"looks into {node.id}") if isinstance(node, ast.Name) else new

    # --- calls ------------------------------------------------------------------------------------------------

    def hook(self, name, node, does="", **more):
        """A call of ``__step__.name`` with the index of a new place."""
        text = self.sources.get(node, getattr(node, "name", ""))
        self.places.append(Place(self.file, node.lineno, does, text, getattr(node, "attr", "")))
        step = ast.Attribute(ast.Name(NAME, ast.Load()), name, ast.Load())
        keywords = [ast.keyword(key, ast.Constant(value)) for key, value in more.items()]
        return ast.copy_location(ast.Call(step, [ast.Constant(len(self.places) - 1)], keywords), node)

    def wrap(self, name, new, old, does):
        """An expression, as it is outside of functions, or in a call of ``__step__.name`` that returns it."""
        if not self.inside:
            return new
        hook = self.hook(name, old, does)
        hook.args.append(new)
        return hook


def _starts_program(node):
    """Whether this is ``if __name__ == "__main__"``."""
    return isinstance(node, ast.If) and "'__name__'" in ast.dump(node.test)
