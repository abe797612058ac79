"""Rules: which sentences of a turn are worth an item, by patterns in English and in Korean, without a model.

A sentence becomes an item as it was said, with its speaker. Some say what can only be true once, such as where somebody
lives: those have a slot, and a newer one takes the place of the older.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from memvid_core.agent.correction import LONGEST, Correction
from memvid_core.agent.corrections import announces, corrected_by
from memvid_core.agent.folding import fold, has_hangul
from memvid_core.agent.records import Turn

__all__ = ["Fact", "facts_of", "sentences"]


class Fact(NamedTuple):
    """What is known from a turn, before it is an item.

    ``slot`` names what can be true only once; ``replaces`` is the id of an item, or words of it, that this corrects;
    ``corrects`` says the same of a sentence that ``said`` corrects, the surest first. Only what ``who`` has said is
    corrected, if that is known. Without ``sure`` it becomes an item only if it corrects something. ``dated`` tells
    whether ``created_at`` comes from what was said, and not from a clock.
    """

    memory_type: str
    summary: str
    categories: tuple[str, ...]
    sources: tuple[str, ...] = ()
    created_at: str = ""
    happened_at: str | None = None
    slot: str | None = None
    replaces: str | None = None
    who: str | None = None
    expires_at: str | None = None
    dated: bool = False
    said: str = ""
    corrects: tuple[Correction, ...] = ()
    sure: bool = True


class _Rule(NamedTuple):
    pattern: str
    memory_type: str
    category: str
    slot: str | None = None


_I: Final = r"\bI(?:['’]m| am|['’]ve| have)?(?: also| just| really| still| now| currently| recently| actually)*"
_MOVED: Final = r"(?:moved|moving|relocated)(?: back)?"
_WE: Final = r"\bwe(?:['’]ve| have|['’]re| are)?(?: also| just| all| now| recently| finally)*"
_HOUSE: Final = (
    r"(?:the|a|an|my|our|this|that|another)\b(?: \w+){0,3} (?:house|home|flat|apartment|place|condo|room|studio|dorm|"
    r"city|town|village|country|countryside|suburbs?|neighbou?rhood|street)\b"
)
_NO_HOUSE: Final = rf"(?!{_HOUSE})(?:the|a|an|my|our|this|that|another|using)\b"
_THING: Final = r"(?P<slot>[a-z]+(?: [a-z]+)?)"
_ENGLISH: Final = (
    _Rule(rf"{_I} (?:live|living|based) (?:in|to|at)\b", "profile", "personal_info", "home"),
    _Rule(rf"{_I} {_MOVED} (?:in|to|at) (?!{_NO_HOUSE})", "profile", "personal_info", "home"),
    _Rule(rf"{_WE} (?:live|living|based) (?:in|at)\b", "profile", "personal_info", "home of us"),
    _Rule(
        rf"{_WE} {_MOVED} to (?:(?-i:[A-Z])|{_HOUSE})",
        "profile",
        "personal_info",
        "home of us",
    ),
    _Rule(r"\b(?:[Mm]y name is|[Cc]all me)\b", "profile", "personal_info", "name"),
    _Rule(rf"{_I} (?:work|working|got a job|took a job|started) (?:at|for|as|with)\b", "profile", "work_life", "work"),
    _Rule(rf"{_I} (?:allergic to|a?n? ?vegetarian|vegan|lactose intolerant|diabetic)\b", "profile", "personal_info"),
    _Rule(rf"\b[Mm]y (?:favou?rite|preferred) {_THING} (?:is|are|was)\b", "profile", "preferences", "favorite {slot}"),
    _Rule(
        r"\b[Mm]y (?P<slot>birthday|e-?mail|phone|phone number|address|budget|deadline|manager|boss|landlord|doctor|"
        r"dentist|password hint|shoe size|flight|seat|"
        r"train|gym|bank|car|bike|laptop|editor|wifi name|team|project|goal) "
        r"(?:number |address )?(?:is|are|was moved to|has changed to|changed to|will be)\b",
        "profile",
        "personal_info",
        "{slot}",
    ),
    _Rule(
        r"\b[Mm]y (?:wife|husband|partner|son|daughter|brother|sister|mother|father|mom|dad|friend|dog|cat|"
        r"colleague)\b.{0,40}\b(?:is|are|called|named|lives|works|likes|loves|has|had|was)\b",
        "profile",
        "relationships",
    ),
    _Rule(
        rf"{_I} (?:like|love|prefer|hate|dislike|enjoy|adore|can['’]t stand|don['’]t like)\b", "profile", "preferences"
    ),
    _Rule(r"\bI(?:['’]d| would) rather\b", "profile", "preferences"),
    _Rule(rf"{_I} (?:always|usually|never|every (?:day|morning|week))\b", "behavior", "habits"),
    _Rule(r"\bI (?:\w+ )?(?:every (?:day|morning|evening|week)|on weekends)\b", "behavior", "habits"),
    _Rule(
        r"\b(?:[Ww]e|I)(?:['’]ve| have)? (?:decided|agreed|settled|chose)\b|\b[Ll]et['’]s go with\b",
        "event",
        "work_life",
    ),
    _Rule(
        r"\bI (?:need|have|must|want|plan|am going|hope) to\b|\bI['’]m going to\b|\b[Rr]emind me\b|\bTODO\b|"
        r"\b[Dd]on['’]t forget\b|\b[Mm]y (?:plan|dream) is\b",
        "event",
        "goals",
    ),
    _Rule(
        rf"{_I} (?:went|visited|bought|finished|started|joined|met|ran|saw|tried|signed up|"
        r"adopted|booked|won|lost|quit)\b",
        "event",
        "activities",
    ),
    _Rule(rf"{_I} (?:think|believe|feel) (?:that )?\w+", "knowledge", "opinions"),
    _Rule(r"\bI (?:can|know how to|learned (?:how )?to)\b", "skill", "knowledge"),
)
_OTHERS: Final = (
    r"(?:회사|사무실|가게|학교|팀|친구|동료|이웃|사촌|아내|남편|아들|딸|형|오빠|누나|언니|동생|엄마|아빠|어머니|"
    r"아버지|부모님|할머니|할아버지|이모|삼촌|고모|씨|님)\S*(?:은|는|이|가|도|네) "
)
_MINE: Final = rf"^(?!.*{_OTHERS}).*"
_KOREAN: Final = (
    _Rule(
        rf"{_MINE}(?:에서? (?:살아|살고|삽니다|산다|살게)|(?:으?로|에) 이사 ?(?:했|왔|갔|해))",
        "profile",
        "personal_info",
        "home",
    ),
    _Rule(r"(?:내|제) 이름은|(?:라고|이라고) 불러", "profile", "personal_info", "name"),
    _Rule(
        rf"{_MINE}(?:에서 (?:일해|일하고|일합니다|근무)|(?:에|으?로) (?:취직|입사|이직))",
        "profile",
        "work_life",
        "work",
    ),
    _Rule(r"알레르기|알러지|채식", "profile", "personal_info"),
    _Rule(r"(?:가장|제일) 좋아하는 (?P<slot>[가-힣]+?)(?:은|는|이|가) ", "profile", "preferences", "favorite {slot}"),
    _Rule(
        r"(?:내|제|우리) (?P<slot>생일|이메일|전화번호|주소|예산|마감|팀장|"
        r"상사|의사|치과|항공편|좌석|기차|헬스장|은행|차|자전거|노트북|팀|프로젝트|목표)"
        r"(?:은|는|이|가)",
        "profile",
        "personal_info",
        "{slot}",
    ),
    _Rule(
        r"(?:내|제|우리) (?:아내|남편|아들|딸|형|오빠|누나|언니|동생|엄마|아빠|어머니|아버지|친구|강아지|고양이)",
        "profile",
        "relationships",
    ),
    _Rule(r"좋아(?:해|합니다|하고|한다)|싫어(?:해|합니다|한다)|(?:더|을|를) 선호|취향", "profile", "preferences"),
    _Rule(r"(?:매일|매주|항상|아침마다|저녁마다|주말마다)", "behavior", "habits"),
    _Rule(r"기로 (?:했|결정|정했|합의)", "event", "work_life"),
    _Rule(
        r"(?:해야|가야|사야|내야|써야|봐야) (?:해|돼|한다|합니다|됩니다)|할 예정|할 거야|할 계획|잊지 (?:마|말)",
        "event",
        "goals",
    ),
    _Rule(r"(?:다녀왔|갔다 왔|샀|끝냈|시작했|가입했|만났|봤|예약했|입양했|그만뒀)", "event", "activities"),
)
_SHORT: Final = (
    r"(?<!\b[A-Z]\.)(?<!\b(?:Mr|Ms|Dr|St|No|vs)\.)(?<!\b(?:Mrs|Sen|Jan|Feb|Aug|Oct|Nov|Dec)\.)"
    r"(?<!\bProf\.)(?<!\b\w\.\w\.)"
)
_SENTENCE: Final = re.compile(rf"(?<=[.!?。]){_SHORT}\s+|\n+")
_SPELLED: Final = re.compile(r"e-mail|ou(?=r\b)")
"""What is spelled in two ways: "e-mail", "colour", "flavour"."""
_READ: Final = 4_000
_ENGLISH_RULES: Final = [(re.compile(rule.pattern, re.IGNORECASE), rule) for rule in _ENGLISH]
_KOREAN_RULES: Final = [(re.compile(rule.pattern), rule) for rule in _KOREAN]
_ANY_ENGLISH: Final = re.compile(
    rf"\b(?=[cdilmrtw])(?:{'|'.join(rule.pattern.replace('?P<slot>', '?:') for rule in _ENGLISH)})", re.IGNORECASE
)
"""Finds a sentence that a rule reads, in a fifth of their time: each begins at a word that begins so."""


def facts_of(turn: Turn) -> Iterator[Fact]:
    """Yield what rules read in a user's turn; questions and what an assistant said give nothing.

    Example:
        >>> turn = Turn(
        ...     id="t",
        ...     session="s",
        ...     position=0,
        ...     role="user",
        ...     who="Ada",
        ...     text="I live in Turin. Nice, no?",
        ...     created_at="2026-05-08T00:00:00+00:00",
        ... )
        >>> [(fact.summary, fact.slot) for fact in facts_of(turn)]
        [('Ada: I live in Turin.', 'ada home')]
    """
    if turn.role != "user":
        return
    announced = False
    for said in _parts(turn.text):
        fact = _fact(said, turn, announced) if _may_say(said) else None
        announced = announces(said)
        if fact is not None:
            yield fact


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text that may say a fact: not too long, and no questions."""
    return filter(_may_say, _parts(text))


def _parts(text: str) -> Iterator[str]:
    """Yield the sentences of a text."""
    return (" ".join(unicodedata.normalize("NFKC", part).split()) for part in _SENTENCE.split(text[:_READ]))


def _may_say(said: str) -> bool:
    return 4 < len(said) <= LONGEST and not said.endswith(("?", "？"))


def _fact(said: str, turn: Turn, announced: bool) -> Fact | None:
    corrects = tuple(corrected_by(said, announced))
    korean = has_hangul(said)
    read = korean or _ANY_ENGLISH.search(said) is not None
    for pattern, rule in (_KOREAN_RULES if korean else _ENGLISH_RULES) if read else ():
        match = pattern.search(said)
        if match is not None:
            slot = rule.slot.format(**match.groupdict()) if rule.slot else None
            return _made(rule.memory_type, rule.category, said, turn, slot, corrects)
    if not corrects:
        return None
    fact = _made("profile", "personal_info", said, turn, None, corrects)
    return fact._replace(sure=any(each.sure for each in corrects))


def _spelled(found: re.Match[str]) -> str:
    return "email" if found.group() == "e-mail" else "o"


def _made(
    memory_type: str, category: str, said: str, turn: Turn, slot: str | None, corrects: tuple[Correction, ...]
) -> Fact:
    summary = said if turn.who == turn.role else f"{turn.who}: {said}"
    owned = f"{fold(turn.who)} {_SPELLED.sub(_spelled, slot.casefold())}" if slot else None
    return Fact(
        memory_type=memory_type,
        summary=summary,
        categories=(category,),
        sources=(turn.id,),
        created_at=turn.created_at,
        happened_at=turn.happened_at,
        slot=owned,
        who=turn.who,
        dated=turn.dated,
        said=said,
        corrects=corrects,
    )
