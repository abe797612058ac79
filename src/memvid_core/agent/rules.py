"""Rules: which sentences of a turn are worth an item, by patterns in English and in Korean, without a model.

A sentence becomes an item as it was said, with its speaker. Some say what can only be true once, such as where somebody
lives: those have a slot, and a newer one takes the place of the older.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from memvid_core.agent.folding import fold, has_hangul
from memvid_core.agent.records import Turn

__all__ = ["Fact", "facts_of", "sentences"]


class Fact(NamedTuple):
    """What is known from a turn, before it is an item.

    ``slot`` names what can be true only once; ``replaces`` is the id of an item, or words of it, that this corrects;
    words correct what ``who`` has said, if that is known. ``dated`` tells whether ``created_at`` comes from what was
    said, and not from a clock.
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


class _Rule(NamedTuple):
    pattern: str
    memory_type: str
    category: str
    slot: str | None = None


_I: Final = r"\bI(?:['’]m| am|['’]ve| have)?(?: also| just| really| still| now| currently| recently| actually)*"
_THING: Final = r"(?P<slot>[a-z]+(?: [a-z]+)?)"
_ENGLISH: Final = (
    _Rule(rf"{_I} (?:live|living|based|moved|moving|relocated) (?:in|to|at)\b", "profile", "personal_info", "home"),
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
_KOREAN: Final = (
    _Rule(
        r"에서? (?:살아|살고|삽니다|산다|살게)|(?:으?로|에) 이사 ?(?:했|왔|갔|해)", "profile", "personal_info", "home"
    ),
    _Rule(r"(?:내|제) 이름은|(?:라고|이라고) 불러", "profile", "personal_info", "name"),
    _Rule(r"에서 (?:일해|일하고|일합니다|근무)|(?:에|으?로) (?:취직|입사|이직)", "profile", "work_life", "work"),
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
_CORRECTED: Final = re.compile(
    r"(?:\bno longer|\bnot|n['’]t)\b(?P<old>.{2,60}?)\b(?:any ?more|any longer)\b|\bno longer (?P<older>.{2,60}?)"
    r"(?:[,.;]|$)|"
    r"\bswitched from (?P<switched>.{2,40}?) to\b|\b(?:quit|stopped|gave up) (?P<quit>\w+ing\b.{0,40}?)(?:[,.;!]|$)|"
    r"(?P<ended>담배|커피|고기|설탕|게임|야식)(?:을|를|은|는)? ?끊(?:었|기로)|"
    r"더 ?이상 (?P<korean>.{1,30}?)(?:안|않|못|아니)|이제 (?P<now>.{1,30}?)(?:지|은|는|이|가)? ?(?:안|않|아니)",
    re.IGNORECASE,
)
_SHORT: Final = (
    r"(?<!\b[A-Z]\.)(?<!\b(?:Mr|Ms|Dr|St|No|vs)\.)(?<!\b(?:Mrs|Sen|Jan|Feb|Aug|Oct|Nov|Dec)\.)"
    r"(?<!\bProf\.)(?<!\b\w\.\w\.)"
)
_SENTENCE: Final = re.compile(rf"{_SHORT}(?<=[.!?。])\s+|\n+")
_SPELLED: Final = re.compile(r"e-mail|ou(?=r\b)")
"""What is spelled in two ways: "e-mail", "colour", "flavour"."""
_LONGEST: Final = 300
_READ: Final = 4_000
_ENGLISH_RULES: Final = [(re.compile(rule.pattern, re.IGNORECASE), rule) for rule in _ENGLISH]
_KOREAN_RULES: Final = [(re.compile(rule.pattern), rule) for rule in _KOREAN]


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
    for said in sentences(turn.text):
        fact = _fact(said, turn)
        if fact is not None:
            yield fact


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text that may say a fact: not too long, and no questions."""
    for sentence in _SENTENCE.split(text[:_READ]):
        said = " ".join(unicodedata.normalize("NFKC", sentence).split())
        if 4 < len(said) <= _LONGEST and not said.endswith(("?", "?")):
            yield said


def _fact(said: str, turn: Turn) -> Fact | None:
    rules = _KOREAN_RULES if has_hangul(said) else _ENGLISH_RULES
    corrected = _CORRECTED.search(said)
    old = next((words.strip() for words in corrected.groups() if words), None) if corrected else None
    for pattern, rule in rules:
        match = pattern.search(said)
        if match is not None:
            slot = rule.slot.format(**match.groupdict()) if rule.slot else None
            return _made(rule.memory_type, rule.category, said, turn, slot, old)
    return _made("profile", "personal_info", said, turn, None, old) if old else None


def _spelled(found: re.Match[str]) -> str:
    return "email" if found.group() == "e-mail" else "o"


def _made(memory_type: str, category: str, said: str, turn: Turn, slot: str | None, old: str | None) -> Fact:
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
        replaces=old,
        who=turn.who,
        dated=turn.dated,
    )
