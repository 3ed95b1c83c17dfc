"""Presidio's analyzer over the texts, with all its patterns and no model: names are not asked for.

Telephone numbers are looked for in the regions that the texts are from; everything else is as it
comes. Findings below a score are left out where the second argument names one.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

REGIONS = ("DE", "GB", "US", "FR", "ES", "IT", "NL", "PL", "AT", "CH", "SE", "PT", "IN", "BR")


class Blank(SpacyNlpEngine):
    """spaCy's tokens without a model."""

    def load(self) -> None:
        """Nothing is loaded."""
        self.nlp = {"en": spacy.blank("en")}


def analyzer() -> AnalyzerEngine:
    """The engine, with every pattern that it brings for English texts."""
    engine = Blank(models=[{"lang_code": "en", "model_name": "blank"}])
    engine.load()
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
    registry.remove_recognizer("PhoneRecognizer")
    registry.add_recognizer(PhoneRecognizer(supported_regions=REGIONS, supported_language="en"))
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


def main(file: str, hostile: str, talks: str, score: str) -> None:
    """Print the findings, and the times of all texts, of conversations and of hostile texts."""
    texts = [json.loads(line)["text"] for line in Path(file).read_text("utf-8").splitlines()]
    engine, least = analyzer(), float(score)
    engine.analyze(texts[0], language="en")
    began = time.process_time()
    results = [engine.analyze(text, language="en", score_threshold=least) for text in texts]
    seconds = time.process_time() - began
    found = [[(one.start, one.end, one.entity_type) for one in some] for some in results]
    began = time.process_time()
    for text in [text for talk in json.loads(Path(talks).read_text("utf-8")) for text in talk]:
        engine.analyze(text, language="en", score_threshold=least)
    talks_s = time.process_time() - began
    worst = 0.0
    for text in json.loads(Path(hostile).read_text("utf-8")):
        began = time.process_time()
        engine.analyze(text, language="en")
        worst = max(worst, time.process_time() - began)
    print(json.dumps({"found": found, "cpu_s": seconds, "talks_s": talks_s, "hostile_s": worst}))


if __name__ == "__main__":
    main(*sys.argv[1:5])
