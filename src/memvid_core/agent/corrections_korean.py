"""Corrections in Korean: find by patterns which older sentences a sentence makes untrue.

The topic of a sentence ends with a particle that is often left out, and the statement comes last. So an older sentence
is compared by its beginning ("발표는" and "발표가"), and by its last word ("써요" and "안 써요").
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from memvid_core.agent.correction import Correction
from memvid_core.agent.values import alike, any_of, values_of

__all__ = ["corrected", "fits", "introduced"]

_SORRY: Final = "어요?|습니다|네요?|다|어"
_STRONG: Final = "|".join(
    [
        *(
            "아니(?:요|야|지|다)?[,.!]",
            "아 ?참",
            "아차",
            "정정(?:할게요?|합니다|해요|하자면)?",
            "사실(?:은)?",
            "실은",
            "그게 아니라",
        ),
        *(f"(?:제가 |내가 )?잘못 (?:말했|알았|적었)(?:{_SORRY})", f"(?:제가 |내가 )?(?:착각했|틀렸)(?:{_SORRY})"),
        *("미안(?:해요?|합니다)?", "죄송(?:해요|합니다)"),
        r"(?:계획|일정)(?:이|은)? ?(?:바뀌었|바뀜|변경됐|변경되었|변경)(?:어요?|습니다|네요?|지만|는데요?)?",
    ]
)
_INTRODUCED: Final = re.compile(
    rf"^(?:(?P<strong>{_STRONG})(?:[\s,.:!]+|$)|(?:그리고|근데|그런데|아|참|저기|그래서)[\s,]+)"
)
_HEDGED: Final = re.compile(r"까 |까요|싶|지도 모|만약|아직|예정|계획|생각 중|고민|으면 |라면 |다면 |않았")
_TELEPHONE: Final = ("전화", "통화")
_FIRST: Final = frozenset(["나", "내", "내가", "저", "제", "제가", "우리", "저희", "우린", "전", "난"])
_WHEN: Final = frozenset(
    [
        *("이제", "이젠", "이제는", "요즘", "요즘은", "지금", "지금은", "앞으로", "앞으로는"),
        *("더", "이상", "더이상", "오늘부터", "어제", "그냥"),
    ]
)
_PARTICLE: Final = re.compile(r"(?<=.)(?:에서는|에서|에게|으로|이랑|은|는|이|가|을|를|에|로|도|만|와|과|랑)$")
_CASE: Final = r"(?:은|는|이|가|을|를)"
_TOPIC: Final = re.compile(rf"(?<=.){_CASE}$")
_AS: Final = r"(?:으로|로) ?(?:이미 |다시 |갑자기 |하루 )?"
_FREE: Final = r"바뀌었|바뀜|바꿨|바꾸었|변경했|변경됐|변경되었|변경됨|수정했|수정됐|정정했"
_TYPED: Final = "|".join(
    [
        *("미뤘", "미뤄졌", "미루었", "옮겼", "옮겨졌", "연기했", "연기됐", "연기되었", "당겼", "당겨졌", "앞당겨졌"),
        *("조정했", "조정됐", "조정되었", "올랐", "올렸", "올라갔", "내렸", "내려갔", "늘었", "늘렸", "늘어났"),
        *("줄었", "줄였", "이동했", "잡혔", "인상됐", "인하됐", "늦어졌", "늦춰졌", "늦췄", "밀렸", "빨라졌"),
    ]
)
_MOVED: Final = re.compile(rf"^.+? ?(?P<new>\S+(?: \S+){{0,2}}){_AS}(?:(?P<free>{_FREE})|{_TYPED})")
_LEFT: Final = r"옮겼|옮겨졌|갈아탔|전과했|이직했|이동했|넘어갔|넘어왔"
_FROM: Final = re.compile(rf"(?P<old>\S+(?: \S+)?)에서 (?P<new>\S+(?: \S+)?){_AS}(?:{_FREE}|{_LEFT})")
_RATHER: Final = re.compile(r"(?P<old>\S+) (?:말고|대신(?:에)?) (?P<new>.+)")
_NO: Final = r"(?:아니라|아니고|아니에요|아닙니다|아니야)"
_NOT: Final = re.compile(rf"(?P<old>\S+(?: \S+)?)(?:이|가) {_NO}[,.]? (?P<new>.+)")
_BAD: Final = r"(?:틀렸|틀린|잘못됐|잘못된|잘못이|아니)"
_WRONG: Final = re.compile(rf"(?P<old>\S+(?: \S+)?)(?:은|는|이|가) {_BAD}\S*[,.]? (?P<new>.+)")
_STOPPED: Final = r"그만두고|그만뒀|그만두었|관두고|관뒀|끊고|끊었|끊기로|접고|접었|해지했|해지하고|팔았|팔고"
_ENDED: Final = re.compile(rf"(?P<old>\S+?)(?:을|를|은|는|도)? ?(?:{_STOPPED})")
_ENDING: Final = "|".join(
    [
        *("배우", "배워", "다니", "다녀", "하고", "해", "쳐", "치", "타", "탄", "마시", "마셔", "마신", "먹"),
        *("피우", "피워", "구독", "운영", "키우", "써", "쓰", "보", "봐", "가입", "몰"),
    ]
)
_NEGATED: Final = re.compile(r"(?:안 (?P<after>\S+)|(?P<before>\S+)지 ?(?:는 |도 )?(?:않|못|말))")
_SINCE: Final = re.compile(r"이제|이젠|더 ?이상|요즘|앞으로")
_NOW: Final = re.compile(r"(?:^| )(?:이제|이제는|이젠|요즘은?|지금은|앞으로는?|오늘부터) ")
_CANCELED: Final = r"(?:취소됐|취소되었|취소했|없어졌|무산됐)"
_OFF: Final = re.compile(rf"^(?P<head>.+?){_CASE}? (?:다 |결국 |갑자기 )?{_CANCELED}")
_END: Final = r"이야|야|이에요|예요|에요|입니다|임"
_IT: Final = re.compile(
    rf"^(?:그게 |그건 )?(?P<new>.{{1,25}}?)(?:{_AS}(?:{_FREE}|{_TYPED})\S*|{_END}|이었어|였어)[.!]*$"
)
_IS: Final = rf"(?:{_END}|이다|이고|라고 해|라고 합니다)$"
_ATTRIBUTE: Final = re.compile(
    r"(?:이름|별명|애칭|성함|주소|번호|비밀번호|암호|힌트|아이디|제목|주제|장소|색|색깔|직업|전공|혈액형|담당자)$"
)
"""What is called by one word at a time: "강아지 이름은 콩이야"."""
_AND: Final = re.compile(r"(?<=[했었았셨였났됐])(?:고|지만|는데),? |, ")
_NOUNS: Final = "".join(
    f"(?<!{noun})" for noun in ["고양이", "어린이", "아이", "나이", "종이", "놀이", "휴가", "요가", "작가"]
)
"""Nouns that end as if with a particle: "고양이 이름은" is about a name."""
_SPOKEN: Final = re.compile(rf"^(?P<subject>(?:\S+ ){{0,4}}?\S+?)(?:은|는|이|가){_NOUNS} (?P<rest>.+)$")


def introduced(said: str) -> tuple[bool, str]:
    """Return whether a sentence begins with a word that announces a correction, and the sentence without it."""
    strong = False
    while found := _INTRODUCED.match(said):
        strong = strong or found.group("strong") is not None
        said = said[found.end() :]
    return strong, said


def corrected(said: str, announced: bool) -> list[Correction]:
    """Return what a sentence corrects, the surest first."""
    strong, plain = introduced(said)
    plain = plain.rstrip(" .!~")
    if not plain:
        return []
    found = [*_gone(plain)]
    if not _HEDGED.search(f"{plain} "):
        strong = strong or announced
        found += [*_rather(plain), *_left(plain), *_moved(plain), *_off(plain)]
        for part in dict.fromkeys([plain, _AND.split(plain)[-1]]):
            found += _now(part, strong)
        found += _it(plain, strong)
    asked = ((each, " ".join(sorted(each.words | each.subjects)) or each.asked) for each in found)
    return [each._replace(korean=True, asked=words) for each, words in asked]


def fits(correction: Correction, said: str) -> bool:
    """Return whether a sentence is what a correction corrects."""
    plain = introduced(said)[1].rstrip(" .!~")
    tokens = plain.split()
    if not all(any(token.startswith(word) for token in tokens) for word in correction.words):
        return False
    spoken = _SPOKEN.match(plain)
    if correction.subjects and (spoken is None or _bare(spoken.group("subject")) not in correction.subjects):
        return False
    if correction.mine and spoken is not None and _bare(spoken.group("subject").split()[0]):
        return False
    if correction.predicate and not re.search(_taken_apart(correction.predicate), _taken_apart(plain)):
        return False
    return correction.values is None or alike(correction.values, values_of(plain))


def _taken_apart(text: str) -> str:
    """Return a text with each syllable as its letters: "마셔" and "마시" begin alike."""
    return unicodedata.normalize("NFD", text)


def _noun(token: str) -> str:
    return _PARTICLE.sub("", token)


def _bare(subject: str) -> str:
    """Return what a sentence speaks of, without whose it is; none for the speaker."""
    return " ".join(token for token in subject.split() if _noun(token) not in _FIRST and token not in _FIRST)


def _nouns(text: str) -> frozenset[str]:
    """Return the words of a text without their particles, and without the speaker and words of time."""
    tokens = (token for token in text.split() if token not in _WHEN and token not in _FIRST)
    return frozenset(noun for token in tokens if (noun := _noun(token)) not in _FIRST and noun not in _WHEN)


def _says(plain: str) -> str:
    """Return the pattern of a sentence that ends with the same verb, in any form."""
    *before, last = plain.split()
    if before and last.startswith(("있", "계시")) and before[-1].endswith("고"):
        last = before[-1]
    letters = _taken_apart(last)[:3]
    return rf"(?:^| ){re.escape(letters)}\S*(?: 있\S*)?$" if len(letters) > 1 else ""


def _gone(plain: str) -> list[Correction]:
    """Read "이제 우유를 안 마셔요" and "더 이상 우유를 마시지 않아요"."""
    negated = _NEGATED.search(plain)
    if negated is None or not _SINCE.search(plain[: negated.start()]):
        return []
    words, says = _nouns(plain[: negated.start()]), _says(negated.group("after") or negated.group("before"))
    return [Correction(words=words, predicate=says, sure=True)] if words and says else []


def _rather(plain: str) -> list[Correction]:
    found = _RATHER.search(plain)
    if found is not None and (says := _says(plain)):
        words = frozenset({_noun(found.group("old"))})
        if re.search(_IS, plain):  # "점심은 세 시 대신 네 시예요" is about lunch, whatever it says of it
            about = _topic_of(plain[: found.start("old")])
            return [Correction(words=words, subjects=frozenset({about} if about else ()), predicate=_IS)]
        return [Correction(words=words, predicate=says)]
    for pattern in (_NOT, _WRONG):
        found = pattern.search(plain)
        if found is None:
            continue
        *topic, old = re.split(r"(?<=[은는]) ", plain[: found.end("old")])
        before, after = values_of(f"_ {old}"), values_of(f"_ {found.group('new')}")
        if alike(after, before):
            return [Correction(words=frozenset(old.split()), values=any_of(before.of))]
        if topic and pattern is _NOT and (subject := _bare(_TOPIC.sub("", topic[-1]))):
            return [Correction(words=frozenset(old.split()), subjects=frozenset({subject}))]
        if not topic and pattern is _NOT and (says := _says(plain)) and not re.search(_IS, plain):
            return [Correction(words=_nouns(plain[: found.end("old")]), predicate=says)]
    return []


def _topic_of(text: str) -> str:
    """Return what a sentence is about that begins so; none for the speaker and for words of time."""
    found = re.match(r"(?P<topic>(?:\S+ ){0,3}?\S+?)(?:은|는) ", text)
    return "" if found is None or text.split()[0] in _WHEN else _bare(found.group("topic"))


def _left(plain: str) -> list[Correction]:
    if found := _FROM.search(plain):
        before = plain[: found.end("old")]
        words = _nouns(before)
        others = words - _nouns(found.group("old").split()[-1])
        named = bool(others) and re.search(rf"(?<=.){_CASE} ", before) is not None
        if found.group("new").split()[0].endswith(("을", "를")) or not words:
            return []
        return [Correction(words=words, mine=not named, sure=not named)]
    found = _ENDED.search(plain)
    if found is None or found.group("old").startswith(_TELEPHONE):
        return []
    words = _nouns(plain[: found.end("old")])
    return [Correction(words=words, predicate=_ENDING)] if words else []


def _moved(plain: str) -> list[Correction]:
    found = _MOVED.match(plain)
    if found is None:
        return []
    tokens = plain[: found.end("new")].split()
    corrections: list[Correction] = []
    for count in range(1, len(tokens)):
        head, rest = " ".join(tokens[:count]), " ".join(tokens[count:])
        values = values_of(f"_ {rest}")
        marked = _TOPIC.search(head) is not None
        alone = bool(values.of) and not values.rest.replace("\x00", " ").strip(" _")
        subject = _bare(_TOPIC.sub("", head))
        if not subject or not (marked or alone):
            continue
        if values.of:
            corrections.append(Correction(subjects=frozenset({subject}), values=values))
        if found.group("free") and marked:
            corrections.append(Correction(subjects=frozenset({subject}), predicate=_IS))
    return corrections


def _off(plain: str) -> list[Correction]:
    found = _OFF.match(plain)
    subject = "" if found is None else _bare(found.group("head"))
    dated = any_of(["weekday", "clock", "date"])
    return [Correction(subjects=frozenset({subject}), values=dated)] if subject else []


def _now(plain: str, strong: bool) -> list[Correction]:
    """Read "사무실은 이제 5층이야", and after a word that announces a correction "사무실은 5층이야"."""
    spoken, says = _SPOKEN.match(plain), _says(plain)
    now = _NOW.search(plain) is not None
    if not (strong or now):
        return []
    if spoken is None or not _bare(spoken.group("subject")):
        return _mine(plain, says)
    subject, values = _bare(spoken.group("subject")), values_of(f"_ {spoken.group('rest')}")
    topic = frozenset({subject})
    found = [Correction(subjects=topic, values=values)] if values.of else []
    if says and (now or strong):
        found.append(Correction(subjects=topic, predicate=says))
        if values.of:
            found.append(Correction(words=frozenset(subject.split()), values=values, predicate=says, mine=True))
    if _ATTRIBUTE.search(subject) and re.search(_IS, plain):
        found.append(Correction(subjects=topic, predicate=_IS))
    return found


def _mine(plain: str, says: str) -> list[Correction]:
    """Read "나 이제 일곱 시에 일어나": what the speaker says of itself with another value."""
    first, *tokens = [token for token in plain.split() if token not in _WHEN] or [""]
    if not first or (_noun(first) not in _FIRST and first not in _FIRST):
        return []
    values = values_of(f"_ {' '.join(tokens[:-1])}")
    words = _nouns(values.rest.replace("\x00", " ").strip("_ "))
    named = frozenset(word for word in words if len(word) > 1)
    mine = Correction(asked=tokens[-1] if tokens else "", words=named, values=values, predicate=says, mine=True)
    return [mine] if values.of and says else []


def _it(plain: str, strong: bool) -> list[Correction]:
    found = _IT.match(plain) if strong else None
    values = values_of(f"_ {found.group('new')}") if found is not None else None
    if values is None or not values.of or values.rest.replace("\x00", "").strip(" _"):
        return []
    return [Correction(values=values, near=True)]
