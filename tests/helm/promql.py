"""What a PromQL expression asks for: which series by which labels, and which labels it groups and joins by.

It parses, and knows neither our metrics nor where expressions stand.
"""

import dataclasses
import re

import promql_parser

_OPERATORS = {
    str(promql_parser.MatchOp.Equal): lambda text, value: text == value,
    str(promql_parser.MatchOp.NotEqual): lambda text, value: text != value,
    str(promql_parser.MatchOp.Re): lambda text, value: bool(re.fullmatch(text, value)),
    str(promql_parser.MatchOp.NotRe): lambda text, value: not re.fullmatch(text, value),
}

# What a range or step that Grafana fills in is replaced by, so that an expression of a dashboard is whole.
GRAFANA_INTERVALS = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}


@dataclasses.dataclass(frozen=True)
class Selector:
    """A choice of series: `values` are the texts of which one matches, by label; none for a true regular expression."""

    metric: str
    matchers: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, tuple[str, ...]], ...]
    tests: tuple[tuple[str, object, str], ...]

    def takes(self, label, value):
        """Whether it chooses a series whose label has this value, as far as this label goes."""
        return all(_OPERATORS[str(operator)](text, value) for name, operator, text in self.tests if name == label)


def selectors(text):
    """Every choice of series in an expression."""
    return [_selector(node) for node in _nodes(_parse(text)) if isinstance(node, promql_parser.VectorSelector)]


def groupings(text):
    """Labels that an expression groups or joins by, each with the metrics that would have to have them, one of them."""
    for node in _nodes(_parse(text)):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            yield tuple(node.modifier.labels), _metrics(node.expr)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            labels = tuple(node.modifier.matching.labels)
            yield labels, _metrics(node.lhs)
            yield labels, _metrics(node.rhs)


def without_variables(text):
    """An expression of a dashboard with something in the place of Grafana's variables."""
    for interval, duration in GRAFANA_INTERVALS.items():
        text = text.replace(interval, duration)
    return re.sub(r"\$\w+", ".+", text)


def _parse(text):
    return promql_parser.parse(text)


def _nodes(expression):
    nodes = []
    promql_parser.walk(expression, nodes.append)
    return nodes


def _metrics(expression):
    return [node.name for node in _nodes(expression) if isinstance(node, promql_parser.VectorSelector)]


def _selector(node):
    matchers = node.matchers.matchers
    values = [(matcher.name, _texts(matcher)) for matcher in matchers]
    return Selector(
        node.name,
        tuple((matcher.name, matcher.value) for matcher in matchers),
        tuple((name, texts) for name, texts in values if texts),
        tuple((matcher.name, matcher.op, matcher.value) for matcher in matchers),
    )


def _texts(matcher):
    """The texts that a matcher names: one, or those of an alternative of plain words."""
    if matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual):
        return (matcher.value,)
    words = tuple(matcher.value.split("|"))
    return words if all(re.fullmatch(r"\w+", word) for word in words) else ()
