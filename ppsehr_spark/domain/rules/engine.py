"""All enabled categories as one compiled engine: note in, spans out.

Knows: the order of work (normalise, scan terms once, ask every recogniser, drop, resolve, tier). Must not know:
any single category. Reference: annotation guideline v1, "Spans".
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ppsehr_spark.domain.notes import Note, Span, resolve_overlaps
from ppsehr_spark.domain.offsets import Hit, NormalisedText, normalise_text
from ppsehr_spark.domain.rules.grammars import GRAMMARS, Grammar, GrammarContext, TagReader
from ppsehr_spark.domain.rules.patterns import PatternSet, compile_lexicon, compile_pattern
from ppsehr_spark.domain.rules.terms import TermIndex, TermRegistry, is_covered, longest
from ppsehr_spark.domain.tagging import LEAST_HEARD, HeardTag, Tag, Tagger, TagWeights, read_weights, weigh_tags
from ppsehr_spark.domain.taxonomy import Category, ConfFiles, category_priority, load_categories
from ppsehr_spark.domain.tiering import TierRules
from ppsehr_spark.errors import ConfigurationError

#: Changes with the Python grammars, so that stored annotations know which code found them.
RULES_VERSION = "6"
_DECIDED_BY = ("qwen", "person")
#: Conf files that decide what is found; surrogate lists decide only what replaces it.
_KNOWLEDGE = ("categories/", "lexicons/", "tiers")


@dataclass(frozen=True)
class RuleEngine:
    """Compiled knowledge; build it with ``compile_rules``.

    Attributes:
        knowledge_version: hash (16 hex digits) of categories, lexicons, tiers and ``RULES_VERSION``.
        categories: enabled categories by id.
        recognisers: compiled recognisers per category id.
        index: all listed terms.
        tier_rules: tier assignment for tiered categories.
        tag_weights: of the categories in which a sequence tagger counts.
        priority: category id -> rank where spans overlap.
    """

    knowledge_version: str
    categories: dict[str, Category]
    recognisers: dict[str, tuple[Grammar, ...]]
    index: TermIndex
    tier_rules: TierRules
    tag_weights: dict[str, TagWeights] = field(default_factory=dict)
    priority: dict[str, int] = field(default_factory=dict)

    def prepare(self, notes: Iterable[Note], tagger: Tagger | None) -> None:
        """Let the tagger read notes that will be proposed soon; changes no outcome."""
        if tagger and self.tag_weights:
            tagger.prepare(normalise_text(note.text).text for note in notes)

    def propose(self, note: Note, tagger: Tagger | None = None) -> tuple[Span, ...]:
        """Non-overlapping spans with tiers, sorted by start; doubtful ones (below ``doubt_to``) included.

        An accepted span is never displaced by one that is not (yet) accepted, whatever their priorities.

        Args:
            note: the note.
            tagger: reads the normalised text; its readings count as ``[tagger]`` of each category says.
        """
        text = self.index.scan(normalise_text(note.text))
        tags = tagger.tag(text.text) if tagger and self.tag_weights else ()
        candidates = [span for category in self.categories.values() for span in self._find(category, text, note, tags)]
        if not candidates:
            return ()
        candidates = _without_yielding(candidates, self.categories)
        accepted = self._resolve(span for span in candidates if self._is_accepted(span))
        doubtful = self._resolve(span for span in candidates if not self._is_accepted(span))
        return self.tier_rules.assign(note, _add_where_free(accepted, doubtful))

    def finalise(self, note: Note, spans: Sequence[Span]) -> tuple[Span, ...]:
        """Accepted spans without overlaps; tiers decided by a model or a person stay, all others are assigned anew."""
        accepted = self._resolve(span for span in spans if self._is_accepted(span))
        if not accepted:
            return ()
        decided = {(s.start, s.end, s.category): s for s in accepted if s.tier_rule.startswith(_DECIDED_BY)}
        tiered = self.tier_rules.assign(note, accepted)
        return tuple(decided.get((s.start, s.end, s.category), s) for s in tiered)

    def explain(self, note: Note, span: Span) -> str:
        """One line in words: what, which rule, how sure, which tier. Holds the span's text: for terminals only."""
        category = self.categories[span.category]
        verdict = "accepted" if span.confidence >= category.accept_at else "in doubt"
        if category.doubt_from <= span.confidence < category.doubt_to:
            verdict += ", a model is asked"
        tier = f"; tier {span.tier} by {span.tier_rule}" if span.tier else ""
        surface = note.text[span.start : span.end]
        place = f"{span.start}-{span.end}"
        return (
            f"{surface} [{place}] {category.name} {span.category}: {span.rule} {span.confidence:.2f} ({verdict}){tier}"
        )

    def _find(self, category: Category, text: NormalisedText, note: Note, tags: Sequence[Tag]) -> list[Span]:
        found = [span for recogniser in self.recognisers[category.id] for span in recogniser.find(text, note)]
        weights = self.tag_weights.get(category.id) if tags else None
        if weights:
            heard = _read_tags(category.id, text, tags, weights, self.recognisers[category.id])
            found = weigh_tags(found, heard, weights=weights)
        found = [span for span in found if span.confidence >= category.doubt_from]
        shields = longest(text.hits.get(f"{category.id}.negative", ())) if found else ()
        if not shields:
            return found
        ranges = [Hit(*text.origin(hit.start, hit.end), hit.value) for hit in shields]
        starts = [hit.start for hit in ranges]
        return [span for span in found if not is_covered(starts, ranges, span.start, span.end)]

    def _is_accepted(self, span: Span) -> bool:
        category = self.categories.get(span.category)
        return category is not None and span.confidence >= category.accept_at

    def _resolve(self, spans: Iterable[Span]) -> tuple[Span, ...]:
        return resolve_overlaps(spans, self.priority)


def compile_rules(files: ConfFiles) -> RuleEngine:
    """The engine for these conf files; the same contents give the same object within a process.

    Raises:
        ConfigurationError: a category, pattern, lexicon or grammar name is wrong; file and key are in its fields.
    """
    relevant = {path: text for path, text in files.items() if path.startswith(_KNOWLEDGE) and "/surrogate" not in path}
    return _compile(tuple(sorted(relevant.items())))


@lru_cache(maxsize=16)  # a search over knowledge compiles hundreds of engines, a few megabytes each
def _compile(items: tuple[tuple[str, str], ...]) -> RuleEngine:
    files = dict(items)
    categories = {c.id: c for c in load_categories(files).values() if c.enabled}
    terms = TermRegistry()
    recognisers = {c.id: _compile_category(GrammarContext(c, files, terms)) for c in categories.values()}
    digest = hashlib.sha256(repr((RULES_VERSION, items)).encode()).hexdigest()[:16]
    weights = {c.id: read_weights(c.tagger, file=f"categories/{c.id}.toml") for c in categories.values()}
    heard = {category: given for category, given in weights.items() if given}
    priority = category_priority(categories)
    return RuleEngine(digest, categories, recognisers, terms.build(), TierRules(files), heard, priority)


def _compile_category(context: GrammarContext) -> tuple[Grammar, ...]:
    category = context.category
    unknown = [name for name in category.recognisers if name not in GRAMMARS]
    if unknown:
        hint = f"recognisers are {', '.join(sorted(GRAMMARS))}"
        raise ConfigurationError("UNKNOWN_RECOGNISER", file=f"categories/{category.id}.toml", key=unknown[0], hint=hint)
    context.terms.add(f"{category.id}.negative", category.negative_terms)
    grammars = [GRAMMARS[name](context) for name in category.recognisers]
    patterns = [compile_pattern(raw, category=category.id) for raw in category.patterns]
    if patterns:
        grammars.append(PatternSet(patterns, terms=context.terms))
    return (*grammars, *(compile_lexicon(raw, context=context) for raw in category.lexicons))


def _read_tags(
    category: str, text: NormalisedText, tags: Sequence[Tag], weights: TagWeights, grammars: Sequence[Grammar]
) -> list[HeardTag]:
    """The tagger's readings of one category as spans of the original text, as a grammar that reads tags sees them."""
    reader = next((grammar for grammar in grammars if isinstance(grammar, TagReader)), None)
    heard = []
    for tag in tags:
        is_long = tag.end - tag.start > weights.max_chars
        if tag.label != weights.label or is_long or tag.probability < LEAST_HEARD:
            continue
        read = reader.read_tag(text, tag.start, tag.end) if reader else (tag.start, tag.end, 0.0)
        if read:
            span = text.span(*read[:2], category, confidence=tag.probability, rule=f"{category}.tagger")
            heard.append(HeardTag(span, read[2]))
    return heard


def _without_yielding(spans: list[Span], categories: dict[str, Category]) -> list[Span]:
    """``spans`` without those that lie inside a sure span of a category that prevails over theirs."""
    for category in categories.values():
        if category.prevails_over:
            sure = [s for s in spans if s.category == category.id and s.confidence >= category.prevails_from]
            sure.sort(key=lambda s: s.start)
            starts = [s.start for s in sure]
            spans = [
                s
                for s in spans
                if s.category not in category.prevails_over or not is_covered(starts, sure, s.start, s.end)
            ]
    return spans


def _add_where_free(kept: tuple[Span, ...], extra: tuple[Span, ...]) -> tuple[Span, ...]:
    """``kept`` plus those of ``extra`` that overlap none of it, sorted by start."""
    starts = [span.start for span in kept]
    free = []
    for span in extra:
        at = bisect_right(starts, span.start)
        before_ends = at == 0 or kept[at - 1].end <= span.start
        if before_ends and (at == len(kept) or span.end <= kept[at].start):
            free.append(span)
    return tuple(sorted((*kept, *free), key=lambda s: s.start))
