"""Texts of known topics, made by rule: enough of them to fit on."""

from __future__ import annotations

_WORDS = {
    "flight": "wing lift drag airfoil boundary layer flow supersonic shock pressure slipstream propeller nozzle",
    "kitchen": "soup onion butter oven flour sugar recipe dinner plate simmer garlic bread tomato",
    "한국": "대통령은 국회에서 법률을 공포하고 헌법재판소의 결정을 따르며 선거를 통해 선출된다 서울특별시",
}
TOPICS = {topic: words.split() for topic, words in _WORDS.items()}


def texts(count: int = 360) -> list[str]:
    """Texts about one topic each, the topics in turn; no two are equal."""
    names = list(TOPICS)
    found = []
    for number in range(count):
        words = TOPICS[names[number % len(names)]]
        chosen = [words[(number * step + step) % len(words)] for step in (1, 3, 5, 7, 11)]
        found.append(" ".join([*chosen, f"n{number}"]))
    return found
