"""Prose in source files: docstrings, comments and longer literals, and the words that none of them should contain."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LITERARY = re.compile(  # words without a technical meaning, for each of which there is a plain one
    r"\b(?:agendas?|anew|anybody|believ\w+|fares?|fates?|gravest|judg\w+|keepers?|kept|lest|mend(?:s|ed|ing)?|nobody"
    r"|nought|seldom|shall|somebody|testif\w+|told|unasked|whoever|whomever)\b",
    re.IGNORECASE,
)
QUESTION = re.compile(r"(?:What|Whether|Who|Whom|Whose|How|Why)\b")  # a docstring starts with a verb or a noun
FEW_WORDS = 3  # a literal this short is a key or a name


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a file; walking the tree takes longer than what is done with them."""
    return tuple(ast.walk(tree(path)))


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each docstring, those below attributes included."""
    for node in nodes(path):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text), lineno=line)):
                yield line, text


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each other string that is longer than a few words, the parts of f-strings included."""
    documenting = {line for line, _ in docstrings(path)}
    for node in nodes(path):
        match node:
            case ast.Constant(value=str(text), lineno=line) if line not in documenting:
                if len(text.split()) > FEW_WORDS:
                    yield line, text


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def literary_words(path: Path) -> Iterator[str]:
    """Yield "line word" for each word of the stop list."""
    for line, text in (*docstrings(path), *literals(path), *comments(path)):
        for found in LITERARY.finditer(text):
            yield f"{line + text.count(chr(10), 0, found.start())} {found[0]}"


def question_openings(path: Path) -> Iterator[str]:
    """Yield "line sentence" for each docstring that opens with a question word."""
    for line, text in docstrings(path):
        if QUESTION.match(text.lstrip()):
            yield f"{line} {text.strip().partition(chr(10))[0]}"
