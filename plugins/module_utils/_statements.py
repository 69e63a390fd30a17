# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a statement of a migration could lose. What is not known to keep every row and value counts as a loss: a backup costs little."""

from __future__ import annotations

import re
from collections.abc import Iterator

UNKNOWN = "is not known to keep all data"

_QUOTED = re.compile(
    r"""--[^\n]*|/\*|\$(?:[A-Za-z_]\w*)?\$|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*\"""", re.DOTALL
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")

# How a statement loses data, by how it begins; the first that fits says it.
_LOSING = (
    (re.compile(r"drop (table|foreign table|schema|sequence|materialized view|database)\b"), "drops a {0}"),
    (re.compile(r"drop owned\b"), "drops all that a role owns"),
    (re.compile(r"drop (?:type|domain)\b.*\bcascade\b"), "drops the columns of that type"),
    (re.compile(r"drop\b.*\bcascade\b"), "drops what depends on it"),
    (re.compile(r"truncate\b"), "empties a table"),
    (re.compile(r"merge\b"), "overwrites or deletes rows"),
    (re.compile(r"insert\b.*\bdo update\b"), "overwrites values"),
    (re.compile(r"(?:with\b.*\b|insert\b.*\b|create\b.*\bas .*\b)?delete from\b"), "deletes rows"),
    (re.compile(r"(?:with\b.*\b|insert\b.*\b|create\b.*\bas .*\b)?update (?!set\b)"), "overwrites values"),
    (re.compile(r"do\b"), "runs a block that may do anything"),
    (re.compile(r"call\b"), "calls a procedure that may do anything"),
)
# Parts of an ALTER TABLE that lose something, and all those that are known to lose nothing.
_LOSING_PARTS = (
    (re.compile(r"drop (?!(?:constraint|default|not null|identity|expression)\b)"), "drops a column"),
    (re.compile(r"alter (?:column )?\S+ (?:set data )?type\b"), "changes the type of a column"),
)
_KEEPING_PARTS = re.compile(
    r"add\b|drop constraint\b|alter constraint\b|validate constraint\b|rename\b|owner to\b|(?:enable|force) row level security\b|replica identity\b"
    r"|attach partition\b|set \(|reset \("
    r"|alter (?:column )?\S+ (?:drop (?:default|not null|identity|expression)\b|set (?:default|not null|statistics|storage|compression)\b|add generated\b)"
)
# Statements that lose nothing whatever they say. Definitions are not run by being made.
_KEEPING = re.compile(
    r"create (?:or replace )?(?:unique )?(?:(?:temp|temporary|recursive) )?"
    r"(?:index|view|type|domain|sequence|function|procedure|aggregate|policy|statistics|collation)\b"
    r"|drop (?:index|view|type|domain|function|procedure|aggregate|policy|trigger|rule|statistics|collation)\b"
    r"|alter (?:index|view|function|procedure|policy|default privileges)\b"
    r"|alter type \S+ (?:add value|rename|owner to)\b|alter domain \S+ (?:set|drop|add|validate|rename|owner to)\b"
    r"|alter sequence \S+ (?:owned by|rename|owner to)\b"
    r"|(?:comment|grant|revoke|set|reset|show|analyze|lock|reindex|cluster|savepoint|release|begin|start transaction|commit)\b"
)
# These keep what is there unless a function that they call does not.
_ASKING = re.compile(r"(?:select|values|table|with|insert)\b")
_CALL = re.compile(r'(?:\b(\w+)\s+)?((?:[\w"]+\.)*[\w"]+)\s*\(')
# What stands before a parenthesis and is no function, and what makes of the word behind it a table, a type or an alias.
_WORDS_TEXT = """
add all and any array as between bit by case char character check conflict cube decimal default distinct else except exclude exists filter from
generated grouping having identity in include inner intersect interval into is join key lateral left like materialized not numeric of on only or order
over partition precision primary recursive references returning right rollup row select set sets some stored table then time timestamp timestamptz
union unique using values varbit varchar varying when where window with within
"""
_WORDS = frozenset(_WORDS_TEXT.split())
_NAMING = frozenset({"as", "constraint", "into", "references", "table", "using", "with", "recursive"})
_FUNCTIONS_TEXT = """
abs age array_agg array_append array_cat array_length array_position array_remove array_to_string avg bool_and bool_or btrim cardinality cast ceil
char_length clock_timestamp coalesce col_description concat concat_ws convert_from convert_to count current_database current_schema current_schemas
current_setting date date_part date_trunc decode encode exp extract first_value floor format format_type gen_random_uuid generate_series
generate_subscripts greatest has_schema_privilege has_table_privilege initcap json_agg json_build_array json_build_object jsonb_agg
jsonb_array_elements jsonb_build_array jsonb_build_object jsonb_object_agg jsonb_set jsonb_strip_nulls lag last_value lead least left length ln
localtimestamp lower lpad ltrim make_date make_interval make_timestamptz max md5 min mod mode nextval now nullif obj_description octet_length overlay
percentile_cont percentile_disc pg_get_constraintdef pg_get_expr pg_get_indexdef pg_get_serial_sequence pg_get_viewdef pg_table_is_visible
pg_type_is_visible position power quote_ident quote_literal random rank regexp_match regexp_replace repeat replace reverse right round row_number
row_to_json rpad rtrim sha256 sign split_part sqrt statement_timestamp string_agg string_to_array strpos substr substring sum text timezone to_char
to_date to_json to_jsonb to_number to_regclass to_regnamespace to_regrole to_timestamp transaction_timestamp translate trim trunc tstzrange unnest
upper uuid_generate_v4 version width_bucket xmlagg
"""
_FUNCTIONS = frozenset(_FUNCTIONS_TEXT.split())


def _pieces(sql: str) -> Iterator[tuple[str, str]]:
    """Yield what a statement consists of, as kind (C(code), C(comment), C(literal), C(name)) and text."""
    at = 0
    while found := _QUOTED.search(sql, at):
        yield "code", sql[at : found.start()]
        text, at = found.group(), found.end()
        if text == "/*":
            at = _end_of_comment(sql, at)
            yield "comment", sql[found.start() : at]
        elif text.startswith("$"):
            end = sql.find(text, at)
            at = len(sql) if end < 0 else end + len(text)
            yield "literal", sql[found.start() : at]
        else:
            yield {"-": "comment", '"': "name"}.get(text[0], "literal"), text
    yield "code", sql[at:]


def _end_of_comment(sql: str, at: int) -> int:
    """Return where a comment ends whose inside begins at ``at``; comments nest."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, at)):
        depth += 1 if edge.group() == "/*" else -1
        at = edge.end()
    return len(sql) if depth else at


def plain(sql: str) -> str:
    """Return a statement as one line, without comments."""
    return " ".join("".join(" " if kind == "comment" else text for kind, text in _pieces(sql)).split()).rstrip("; ")


def skeletons(sql: str) -> list[str]:
    """Return the statements in a text, in small letters and with single spaces, without what stands in quotes and comments."""
    instead = {"comment": " ", "literal": "''", "name": '"n"'}
    bare = "".join(instead.get(kind, text) for kind, text in _pieces(sql)).lower()
    return [one for one in (" ".join(part.split()) for part in bare.split(";")) if one]


def loses(sql: str) -> str:
    """Return how a statement could lose data, "" when it is known to lose none."""
    return next((how for how in map(_loss, skeletons(sql)) if how), "")


def _loss(text: str) -> str:
    """Return how one statement could lose data; takes its skeleton."""
    text = re.sub(r"\bfor (no key )?update\b", "for share", text)
    for pattern, how in _LOSING:
        if found := pattern.match(text):
            return how.format(*found.groups())
    if found := re.match(r"alter table (?:if exists )?(?:only )?\S+ (?:\* )?(.*)", text):
        return next((how for how in map(_loss_of_part, _parts(found.group(1))) if how), "")
    if re.match(r"create (?:(?:unlogged|temp|temporary) )?table\b", text) and not re.search(r"\bas\b", _outside(text)):
        return ""
    if _KEEPING.match(text):
        return ""
    if _ASKING.match(text) or re.match(r"create (?:(?:unlogged|temp|temporary) )?table\b|create materialized view\b", text):
        return _call(text)
    return UNKNOWN


def _loss_of_part(part: str) -> str:
    """Return how one part of an ALTER TABLE could lose data."""
    for pattern, how in _LOSING_PARTS:
        if pattern.match(part):
            return how
    if not _KEEPING_PARTS.match(part):
        return UNKNOWN
    # An index calls only functions that cannot write. A default is computed for each row that is there.
    return "" if re.match(r"add (?:constraint \S+ )?exclude\b", part) else _call(part)


def _call(text: str) -> str:
    """Return that a function is called that may write, "" when none is."""
    for before, name in _CALL.findall(text):
        word = name.removeprefix("pg_catalog.")
        if before not in _NAMING and word not in _WORDS and word not in _FUNCTIONS:
            return f"calls {name}, which may write"
    return ""


def _parts(text: str) -> list[str]:
    """Return the parts between commas outside of parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _outside(text: str) -> str:
    """Return what stands outside of parentheses."""
    depth, kept = 0, []
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        kept.append(letter if depth == 0 else " ")
    return "".join(kept)
