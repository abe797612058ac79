"""Corrections in English: find by patterns which older sentences a sentence makes untrue.

A pattern alone is not enough: "The law changed from 2010 to 2012" does not correct "I study law". So a sentence gives a
:class:`Correction`, which says what an older sentence must be like, and most sentences that are found are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from memvid_core.agent.correction import Correction
from memvid_core.agent.passages import terms_of
from memvid_core.agent.values import alike, any_of, values_of

__all__ = ["corrected", "fits", "introduced"]

_INTRODUCED: Final = re.compile(
    r"^(?:(?P<strong>(?:actually|sorry|(?:small |one |quick )?(?:correction|update)|oops|my (?:mistake|bad)|"
    r"scratch that|(?:it |as it )?turns out(?: that)?|in fact|i (?:was wrong|misspoke|made a mistake|stand corrected)|"
    r"(?:small |slight )?change of plans?|(?:the |our |my )?plans? (?:have |has )?changed|(?:my )?apologies)"
    r"(?:[\s,.:;!—-]+|$)|"
    r"(?:no|nope|wait|ah|hm+)(?:[,.:;!—-]\s*|$))|"
    r"(?:well|oh|ok(?:ay)?|so|and|but|by the way|btw|fyi|hey|just so you know|also|good news|bad news|heads up)"
    r"(?:[\s,.:;!—-]+|$))",
    re.IGNORECASE,
)
_HINT: Final = re.compile(
    r"n['’]t\b|\b(?:not|no(?=[,.:;!—-]|$)|nope|longer|now|these days|nowadays|as of|actually|sorry|correction|update|"
    r"updated|oops|mistake|my bad|apologies|plans? changed|stand corrected|"
    r"scratch|turns out|in fact|wrong|misspoke|wait|ah|hm+|instead|used to|quit|stopped|"
    r"gave|sold|got rid|turned|call\w* off|cancel\w*|unsubscribed|returned|(?:an?|my|our) new|make (?:that|it)|"
    r"i meant?|incorrect|outdated|typo|replace\w*|took over|succeed\w*|swapped|traded|exchanged|changed|renamed|"
    r"switched|migrated|converted|went (?:up|down|over|from)|upgraded|transferred|moved|rescheduled|postponed|pushed|"
    r"shifted|delayed|brought|raised|lowered|increased|reduced|extended|cut|rose|fell|dropped)\b"
)
"""What every correction has, in small letters: a first look that costs little."""
_HEDGED: Final = re.compile(
    r"\b(?:might|(?-i:may)|could|should|would|if|maybe|perhaps|wish|hope|wants?|plan(?:s|ned|ning)?|thinking|think|"
    r"consider\w*|probably|unless|yet|nobody|no one|almost|nearly|whether|never|imagine|pretend)\b",
    re.IGNORECASE,
)
_SHORTENED: Final = (
    (re.compile(r"\b(it|that|he|she|there|what|who|name)['’]s\b", re.IGNORECASE), r"\1 is"),
    (re.compile(r"\bwon['’]t\b", re.IGNORECASE), "will not"),
    (re.compile(r"n['’]t\b", re.IGNORECASE), " not"),
    (re.compile(r"\b(I)['’]m\b", re.IGNORECASE), r"\1 am"),
    (re.compile(r"['’]re\b", re.IGNORECASE), " are"),
    (re.compile(r"['’]ve\b", re.IGNORECASE), " have"),
)
_BE: Final = r"(?:is|are|am|was|were|will be)"
_STATE: Final = (
    rf"(?:{_BE}|starts|begins|ends|runs|leaves|departs|arrives|opens|closes|costs|meets|lasts|lives|works|takes place|"
    r"comes|happens|expires|lands|returns|ships)"
)
_DOING: Final = (
    rf"(?:{_STATE}|no longer|has|have|had|does|do|did|used|just|now|quit|stopped|gave|switched|changed|moved|migrated|"
    r"sold|got|works?|lives?|plays?|drinks?|uses?|likes?|eats?|goes|went|became)"
)
_SUBJECT: Final = r"(?P<subject>(?:[\w'’.-]+ ){1,7}?)"
_SPOKEN: Final = re.compile(rf"^{_SUBJECT}(?:now |currently )?(?P<verb>{_STATE})\b(?P<rest>.*)", re.IGNORECASE)
_ACTING: Final = re.compile(rf"^{_SUBJECT}{_DOING}\b", re.IGNORECASE)
_CLAUSE: Final = re.compile(r"[,;:]|\b(?:that|which|who|when|because|while|says?|said|there)\b", re.IGNORECASE)
_CODE: Final = re.compile(r"[{}\[\]=<>;`]|\w\(")
"""Code, and not a sentence: "cache.set('Paris', Date.now());"."""
_NOW: Final = re.compile(
    r"(?<!\.)\b(?:now|these days|from now on|as of (?:today|now|this \w+)|nowadays)\b", re.IGNORECASE
)
_AUX: Final = r"(?:(?:was|were|is|are|has|have|had|got|gets|been|being|just|now|already|to be) )*"
_TYPED: Final = (
    r"moved|rescheduled|postponed|pushed|shifted|delayed|brought|raised|lowered|increased|reduced|extended|cut|"
    r"went up|went down|rose|fell|dropped"
)
_FREE: Final = r"changed|renamed|switched|updated"
_TO: Final = r"(?: back| up| down| forward| out)?(?: from (?P<from>.{1,30}?))? (?:to|until|till) (?P<new>.+)"
_MOVED: Final = re.compile(rf"^{_SUBJECT}{_AUX}(?:(?P<typed>{_TYPED})|(?P<free>{_FREE})){_TO}", re.IGNORECASE)
_WE_MOVED: Final = re.compile(
    rf"^(?:i|we|they) {_AUX}(?:(?P<typed>{_TYPED})|(?P<free>{_FREE}))"
    rf" (?P<subject>(?:my|our|the) [\w'’ -]{{2,40}}?){_TO}",
    re.IGNORECASE,
)
_TURNED: Final = re.compile(rf"^{_SUBJECT}{_AUX}turned (?P<new>\w+)[.!]*$", re.IGNORECASE)
_OFF: Final = re.compile(
    rf"^(?:{_SUBJECT}{_AUX}(?:cancell?ed|called off)\b|(?:i|we) {_AUX}cancell?ed (?P<object>[\w'’ -]{{2,40}}?)[.!]*$)",
    re.IGNORECASE,
)
_NEW: Final = re.compile(
    r"^(?:(?:(?:i|we) (?:have|got|have got)|(?:they|he|she|(?:my|our|the) \w+) (?:have |has )?"
    r"(?:gave|given|got|sent|bought|assigned) (?:me|us)) an? new (?P<subject>[\w -]{2,30}?)(?:,|:| called| named)|"
    r"(?:my|our) new (?P<named>[\w -]{2,30}?) is)(?P<new> .+)",
    re.IGNORECASE,
)
_COMMA: Final = re.compile(r"[,;] (?:and |but |so )?")
_BACK: Final = re.compile(r"^(?:he|she|it|they) ", re.IGNORECASE)
"""A pronoun that stands for what the clause before speaks of."""
_IT: Final = re.compile(
    r"^(?:(?:it|that) (?:is|was|starts|should be|will be|has to be)|should be|make (?:that|it)|i (?:meant|mean))"
    r" (?P<at>(?:at |on |in |for |the |to |now )*)(?P<new>.{1,40}?)(?:,? (?:and )?not .{1,40})?[.!]*$",
    re.IGNORECASE,
)
_NOT: Final = (
    r"(?!because|only|just|merely|simply|that\b|to\b|so\b|really|sure|much|many|far|all\b|every|if\b|when|for\b|even|"
    r"always|as\b|a lot|bad\b|too\b|by\b|with\b|like\b)"
)
_DID: Final = re.compile(r"(\w+?)(?:([bdfgklmnprt])\2)?ing (?=.*\w)", re.IGNORECASE)
"""What somebody stopped doing, as the beginning of any form of the verb: "taking", "running"."""
_GONE: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?:\bno longer|\bnot)\b(?P<old>.{2,60}?)\b(?:any ?more|any longer)\b",
        r"\bno longer (?P<old>.{2,60}?)(?:[,.;]|$)",
        r"\b(?:quit|stopped|gave up) (?P<old>\w+ing\b.{0,40}?)(?:[,.;!]|$)",
    )
)
_LEFT: Final = re.compile(
    r"\b(?:switched|changed|moved|migrated|converted|went|upgraded|transferred) (?:over )?from (?P<old>.{2,40}?) "
    r"(?:over )?to (?P<new>.{2,60})|"
    r"\b(?:switched|changed|moved|migrated|converted|upgraded|transferred) (?:over )?to .{2,40}? from "
    r"(?P<away>.{2,40}?)(?:[,.;!]|$)|"
    r"\b(?:replaced|swapped|traded(?: in)?|exchanged) (?P<given>.{2,40}?) (?:with|for|by) .{2,60}|"
    r"(?<!get )(?<!getting )(?<!got )(?<!am )(?<!are )(?<!is )(?<!be )\bused to "
    r"(?P<used>.{2,60}?)(?:,? but\b|[,.;!]|$)",
    re.IGNORECASE,
)
_ENDED: Final = re.compile(
    r"^(?:i|we) (?:have |had to |just |finally )*(?:sold|got rid of|gave away|cancell?ed|unsubscribed from|returned|"
    r"quit|gave up|given up) "
    r"(?:my |our |the )?(?P<old>[\w' -]{2,30}?)(?: subscription)?(?: and\b.*|,.*)?[.!]*$",
    re.IGNORECASE,
)
_HAVING: Final = (
    r"\b(?:drive|own|have|use|ride|rent|watch|subscribe|pay|take|attend|play|study|learn|practi[cs]e)\b|"
    r"^my (?:car|bike|phone|laptop|camera|boat|house|tv)\b"
)
_NO_CLAUSE: Final = (
    r"(?!(?:not|i|we|you|he|she|it|they|this|that|there|also|then|now|after|once|still)\b|.*\b(?:am|are)\b)"
)
_WRONG: Final = r"(?:wrong|incorrect|outdated|a typo|not right|no longer (?:right|correct|valid|true))"
_REPLACED: Final = r"(?:(?:has |have )?replaced|replaces|took over from|succeeded|succeeds)"
_RATHER: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"^(?P<new>.{{2,80}}), (?:and )?not {_NOT}(?P<old>.{{2,40}}?)(?: any ?more)?[.!]*$",
        r"\binstead of (?P<old>.{2,40}?)(?:[,.;!]|$)",
        rf"\bnot {_NOT}(?P<old>.{{2,40}}?),? but {_NO_CLAUSE}(?P<new>.{{2,60}})",
        rf"^(?P<old>.{{2,40}}?) (?:is|was|were|are) {_WRONG}\b[,.;: -]+(?:and )?(?P<new>.+)",
        rf"^(?P<new>[\w'’.-]+(?: [\w'’.-]+)?) {_REPLACED} (?P<old>.{{2,30}}?) (?:as|for|in|at) .{{2,40}}",
    )
)
_NOT_SO: Final = re.compile(r"^(?:i|we) (?:(?P<be>am|are)|do) not (?P<old>.{2,60}?)[.!]*$", re.IGNORECASE)
_EMPTY: Final = frozenset(
    [
        "now",
        "but",
        "not",
        "inste",
        "anymo",
        "more",
        "actua",
        "corre",
        "longe",
        "no",
        "just",
        "by",
        "as",
        "let",
        "s",
        "can",
        "only",
    ]
)
_WRONGLY: Final = frozenset(["wrong", "incor", "outda", "typo", "right", "valid", "true"])
_OTHERS: Final = re.compile(r"(?:he|she|they)\b", re.IGNORECASE)
_NOT_MINE: Final = r"^(?!(?:i|we)\b)"
_DENIED: Final = re.compile(r"\b(?:not|never|no longer)\b", re.IGNORECASE)
_LEFT_OVER: Final = 2
"""How many terms a sentence may have that its correction has not."""
_CALLED: Final = rf"\b(?:called|named)\b|\bname {_BE}\b"
_PRONOUN: Final = re.compile(r"^(?:his|her|their|its|he|she|they|it|i|we|let['\u2019]?s|us)\b ?", re.IGNORECASE)
_VERB_ING: Final = re.compile(r"^\w+ing ", re.IGNORECASE)


def corrected(said: str, announced: bool) -> list[Correction]:
    """Return what a sentence corrects, the surest first."""
    if not announced and _HINT.search(said.lower()) is None:
        return []
    strong, plain = introduced(said)
    plain = _spelled_out(plain)
    found = _gone(plain)
    if not _HEDGED.search(plain.replace("should be", "")):
        strong = strong or announced
        found += [*_rather(plain), *_left(plain, strong), *_off(plain), *_it(plain, strong)]
        for part in dict.fromkeys([plain, *_clauses(plain)]):
            found += [*_moved(part, strong), *_counted(part, strong), *_same(part, strong)]
    return [each for each in found if each.words or each.subjects or each.near]


def introduced(said: str) -> tuple[bool, str]:
    """Return whether a sentence begins with a word that announces a correction, and the sentence without it."""
    strong = False
    while found := _INTRODUCED.match(said):
        strong = strong or found.group("strong") is not None
        said = said[found.end() :]
    return strong, said


def _spelled_out(said: str) -> str:
    for pattern, whole in _SHORTENED:
        said = pattern.sub(whole, said)
    return said


def _clauses(plain: str) -> list[str]:
    """Return the clauses of a sentence; one that begins with a pronoun, with what the first one speaks of."""
    first, *others = _COMMA.split(plain)
    found = _ACTING.match(first)
    if found is None or not _subject_of(found):
        return [first, *others]
    return [first, *(_BACK.sub(lambda _: found.group("subject"), other) for other in others)]


def fits(correction: Correction, said: str) -> bool:
    """Return whether a sentence is what a correction corrects."""
    plain, terms = _spelled_out(introduced(said)[1]), frozenset(terms_of(said))
    if not _stems(correction.words) <= _stems(terms) or (correction.frame and not _framed(correction, plain, terms)):
        return False
    if correction.subjects:
        spoken = _SPOKEN.match(plain)
        if spoken is None or _subject_of(spoken) not in correction.subjects:
            return False
    if correction.mine and _speaks_of(plain) != "":
        return False
    if correction.predicate and not re.search(correction.predicate, plain, re.IGNORECASE):
        return False
    return correction.values is None or alike(correction.values, values_of(plain))


def _stems(terms: Iterable[str]) -> frozenset[str]:
    """Return terms of which "come" and "comes" are one."""
    return frozenset(term.removesuffix("s") for term in terms)


def _framed(correction: Correction, plain: str, terms: frozenset[str]) -> bool:
    """Return whether a sentence says the same, but for the words that are corrected."""
    rest = terms - correction.words
    return bool(rest & correction.frame) and len(rest - correction.frame) <= _LEFT_OVER and not _DENIED.search(plain)


def _subject_of(found: re.Match[str]) -> str:
    """Return the terms of what a sentence speaks of; none for the speaker, for a pronoun, and for a whole clause."""
    subject = found.group("subject")
    if _CLAUSE.search(subject):
        return ""
    return _terms(_PRONOUN.sub("", subject.strip()))


def _terms(text: str) -> str:
    return " ".join(sorted(terms_of(re.sub("['\u2019]s\\b", "", text))))


def _speaks_of(plain: str) -> str | None:
    """Return the terms of whom a sentence speaks of: none for the speaker, None if that is not known."""
    if re.match(r"(?:i|we)\b", plain, re.IGNORECASE):
        return ""
    found = _ACTING.match(plain)
    return (found and _subject_of(found)) or None


def _claim(plain: str, old: str, sure: bool = False) -> Correction:
    """Return the correction of what the speaker said of itself, or of whom the sentence names."""
    words, subject = frozenset(terms_of(old)), _speaks_of(plain)
    if subject == "":
        return Correction(asked=old, words=words, mine=True, sure=True)
    if _OTHERS.match(plain):
        return Correction(asked=old, words=words, predicate=_NOT_MINE, sure=sure)
    return Correction(asked=old, words=words.union((subject or "").split()) if words else words, sure=sure)


def _gone(plain: str) -> list[Correction]:
    found = next((found for pattern in _GONE if (found := pattern.search(plain))), None)
    if found is None:
        return []
    old = found.group("old")
    claim = _claim(plain, old, sure=True)
    doing = _DID.match(old)
    objects = frozenset(terms_of(old[doing.end() :])) if doing else frozenset()
    if doing is None or not objects:
        return [claim]
    twice = doing.group(2) or ""
    verb = rf"{claim.predicate}.*\b{re.escape(doing.group(1))}{twice}(?:e|es|s|ing|{twice}ing)?\b"
    return [claim, claim._replace(words=claim.words - {*terms_of(doing.group())} | objects, predicate=verb)]


def _left(plain: str, strong: bool) -> list[Correction]:
    if found := _LEFT.search(plain):
        return [_claim(plain, next(words for words in found.group("old", "away", "given", "used") if words))]
    if found := _ENDED.match(plain):
        return [_mine(found.group("old"), _HAVING)]
    if strong and (found := _NOT_SO.match(plain)):
        return [_mine(found.group("old"), r"\b(?:am|are)\b" if found.group("be") else "")]
    return []


def _mine(old: str, predicate: str) -> Correction:
    return Correction(asked=old, words=frozenset(terms_of(old)), predicate=predicate, mine=True)


def _rather(plain: str) -> list[Correction]:
    found = next((found for pattern in _RATHER if (found := pattern.search(plain))), None)
    if found is None:
        return []
    old = _VERB_ING.sub("", found.group("old"))
    new = found.groupdict().get("new") or plain.replace(found.group(), "")
    words = frozenset(terms_of(old))
    frame = frozenset(terms_of(plain)) - words - _EMPTY
    before, after = values_of(f"_ {old}"), values_of(f"_ {new}")
    framed = [Correction(asked=plain, words=words, frame=frame)] if frame and words else []
    typed = before.of.keys() - {"name"}
    said = frozenset(terms_of(values_of(plain).rest.replace("\x00", " "))) - _EMPTY - _WRONGLY
    if words and typed and alike(after, before) and ("code" in typed or not said):
        return [*framed, Correction(asked=old, words=words, values=any_of(before.of))]
    return framed


def _moved(plain: str, strong: bool) -> list[Correction]:
    for pattern in (_WE_MOVED, _MOVED, _TURNED):
        found = pattern.match(plain)
        subject = "" if found is None else _subject_of(found)
        if found is None or not subject or re.fullmatch("(?:i|we) ", found.group("subject"), re.IGNORECASE):
            continue
        if pattern is not _TURNED and found.group("free") and found.group("from"):
            words = frozenset(terms_of(found.group("from")))
            return [Correction(asked=found.group("subject"), subjects=frozenset({subject}), words=words)]
        if pattern is not _TURNED and found.group("free"):
            says = _CALLED if "renamed" in found.group().casefold() else rf"\b{_BE}\b"
            return [Correction(asked=found.group("subject"), subjects=frozenset({subject}), predicate=says)]
        return _valued(found, f"_ {found.group('new')}")
    spoken = _SPOKEN.match(plain)
    if spoken is None or not (strong or _NOW.search(plain)):
        return []
    return _valued(spoken, f"_{spoken.group('rest')}")


def _counted(plain: str, strong: bool) -> list[Correction]:
    """Read "I have three cats now" and "I have a new doctor, Dr. Brandt"."""
    if found := _NEW.match(plain):
        asked = found.group("subject") or found.group("named")
        values = values_of(f"_{found.group('new')}")
        return [Correction(asked=asked, subjects=frozenset({_terms(asked)}), values=values)] if values.of else []
    if not (strong or _NOW.search(plain)) or _speaks_of(plain) != "":
        return []
    values = values_of(plain)
    words = frozenset(terms_of(values.rest.replace("\x00", " "))) - _EMPTY
    typed = values.of.keys() - {"name"}
    return [Correction(asked=plain, words=words, values=values, mine=True)] if typed and words else []


def _same(plain: str, strong: bool) -> list[Correction]:
    """Read "The choir rehearses on Wednesdays now": the same words with another value."""
    if not (strong or _NOW.search(plain)) or _CODE.search(plain):
        return []
    values, mine = values_of(plain), _speaks_of(plain) == ""
    words = frozenset(terms_of(values.rest.replace("\x00", " "))) - _EMPTY
    same = Correction(asked=plain, words=words, values=values, mine=mine, predicate="" if mine else _NOT_MINE)
    return [same] if values.of and len(words) > 1 else []


def _valued(found: re.Match[str], said: str) -> list[Correction]:
    values, subject = values_of(said), _subject_of(found)
    if not values.of or not subject:
        return []
    return [Correction(asked=found.group("subject"), subjects=frozenset({subject}), values=values)]


def _off(plain: str) -> list[Correction]:
    found = _OFF.match(plain)
    if found is None:
        return []
    asked = found.group("subject") or found.group("object")
    subject = _subject_of(found) if found.group("subject") else _terms(asked)
    dated = any_of(["weekday", "clock", "date"])
    return [Correction(asked=asked, subjects=frozenset({subject}), values=dated)] if subject else []


def _it(plain: str, strong: bool) -> list[Correction]:
    found = _IT.match(plain)
    if found is None or not (strong or plain.casefold().startswith(("make that", "i meant"))):
        return []
    values = values_of(f"_ {found.group('at')}{found.group('new')}")
    left = terms_of(values.rest.replace("\x00", " "))
    return [Correction(values=values, near=True)] if values.of and not left else []
