"""Identifies the language of prose between programs, conservatively: by its script, and among languages in Latin script by function
words.

General detectors are unreliable on short technical texts; here a text counts as another language only on strong evidence.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_MIN_LETTERS = 5
_MIN_WORDS = 3  # distinct function words of the other language; one fewer if the text has none of the dialogue's
_SCRIPTS = (
    "LATIN",
    "CJK",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "CYRILLIC",
    "ARABIC",
    "HEBREW",
    "DEVANAGARI",
    "BENGALI",
    "THAI",
    "GREEK",
    "TAMIL",
)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"\n]*\"|\b\w*[_()=\[\]]\w*", re.DOTALL)
_FUNCTION_WORDS = {
    "English": "the of and to is that it was for with as be this are by an not but when which because so if than does has have in "
    "on at or no we you my they all any can will only must should its there were before after into too do did from one off",
    "German": "der die das und ist nicht ein eine einen den dem des mit auf für von zu sich auch wird sind bei wenn aber als wurde war "
    "dass hier im nur noch muss statt weil jetzt durch zum zur kein keine wieder",
    "French": "le la les des et est une un dans pour que qui pas sur avec ce cette il elle sont au aux du par mais ou donc car ici "
    "était doit lorsque alors à être trop plus",
    "Spanish": "el la los las de y es una un en que no por con para del se lo como pero al son esta este cuando porque debe aquí ahora "
    "entonces fue era hay",
    "Portuguese": "os de é uma um em que não por com para da se como mas ao são esta este quando porque deve aqui agora então foi está "
    "era na no",
    "Italian": "il lo la gli le di è una un che non per con del della si come ma al sono questa questo quando perché deve qui ora "
    "quindi era nel",
    "Dutch": "de het een en niet van op te dat met voor zijn aan er maar als ook wordt naar bij dit deze omdat moet nu hier dan",
    "Polish": "nie na jest się do że jak ale po co tak od za przez dla był tylko gdy więc musi teraz",
    "Turkish": "ve bir bu için ile da değil olarak daha çok gibi ama olan ancak kadar sonra şimdi yanlış hata",
    "Vietnamese": "và là của không có trong cho được một các với này khi đã vì nên để lỗi",
    "Indonesian": "yang dan di ini itu dengan untuk tidak dari adalah pada karena harus jika akan sudah kesalahan",
}
_WORDS_OF = {name: frozenset(words.split()) for name, words in _FUNCTION_WORDS.items()}


def is_in_another_language(text: str, dialogue: str) -> bool:
    """Tell whether a text is clearly in another language than a dialogue (its problem and prompts)."""
    text, dialogue = _prose(text), _prose(dialogue)
    scripts, theirs = _scripts(text), _scripts(dialogue)
    if (total := scripts.total()) < _MIN_LETTERS:
        return False
    for script, count in scripts.items():
        if script != "LATIN" and count > 0.3 * total and theirs[script] <= 0.02 * theirs.total():
            return True
    if scripts["LATIN"] < 0.7 * total:
        return False
    if theirs.total() and theirs["LATIN"] < 0.5 * theirs.total():
        return False  # technical English is common in any language
    own, said = _hits(dialogue), _hits(text)
    language = max(own, key=lambda name: own[name])
    other = max(said, key=lambda name: said[name])
    enough = _MIN_WORDS if said[language] else _MIN_WORDS - 1
    return other != language and said[other] >= max(enough, 2 * said[language] + 1) and own[other] < own[language] / 2


def _prose(text: str) -> str:
    return _CODE.sub(" ", text)


def _hits(text: str) -> dict[str, int]:
    """Count the distinct function words of each language in a text."""
    words = set(re.findall(r"[^\W\d_]{2,}|é|è|à", text.lower()))
    return {name: len(words & known) for name, known in _WORDS_OF.items()}


def _scripts(text: str) -> Counter[str]:
    return Counter(script for character in text if character.isalpha() and (script := _script(character)))


def _script(character: str) -> str:
    name = unicodedata.name(character, "")
    return next((script for script in _SCRIPTS if name.startswith(script)), "")
