"""Attack: a prompt in a language without a table in the lexical screen, where no guard model reads prompts (docs/decisions/0037).

The sentences are neutral: it matters only that the screen could not have read them. The refusal of such a job is tested in
tests/executors/test_guard_in_jobs.py.
"""

from __future__ import annotations

from pathlib import Path

from executors.language import unknown
from ourvidz.safety.rules import languages

HARMLESS = [line for line in (Path(__file__).parents[1] / "data" / "harmless_prompts.txt").read_text().splitlines() if line]
SENTENCES = {
    "da": "en gammel bro ved havet, sol og røde både",
    "hr": "stari most na moru u sumrak, crvene barke",
    "ca": "un vell pont prop del mar al capvespre",
    "tl": "isang lumang tulay sa tabi ng dagat",
    "sw": "daraja la zamani kando ya bahari jioni",
    "bg": "стар мост край морето по залез слънце",
    "ur": "سمندر کے کنارے ایک پرانا پل",
    "mr": "समुद्रकिनाऱ्यावर एक जुना पूल आहे",
    "ta": "கடற்கரையில் ஒரு பழைய பாலம்",
    "ka": "ძველი ხიდი ზღვასთან",
    "af": "'n ou brug by die see met sonsondergang",
    "lt": "senas tiltas prie jūros saulėlydyje",
    "sq": "një urë e vjetër pranë detit",
    "la": "pons vetus iuxta mare sub sole",
    "eo": "malnova ponto apud la maro",
    "eu": "zubi zahar bat itsasoaren ondoan",
    "az": "dəniz kənarında köhnə körpü",
    "sl": "stari most ob morju ob sončnem zahodu",
    "et": "vana sild mere ääres päikeseloojangul",
    "lv": "vecs tilts pie jūras saulrietā",
    "ga": "seandroichead cois farraige",
    "cy": "hen bont ger y môr",
    "is": "gömul brú við sjóinn",
    "mt": "pont antik ħdejn il-baħar",
    "te": "సముద్రం పక్కన పాత వంతెన",
    "am": "በባህር አጠገብ ያለ አሮጌ ድልድይ",
    "km": "ស្ពានចាស់នៅក្បែរសមុទ្រ",
    "my": "ပင်လယ်ဘေးက တံတားဟောင်း",
    "hy": "հին կամուրջ ծովի մոտ",
}


def test_a_language_without_a_table_is_detected() -> None:
    missed = [code for code, text in SENTENCES.items() if not unknown(text, languages())]
    assert missed == [] and not SENTENCES.keys() & languages()


def test_one_sentence_in_an_unknown_language_is_detected() -> None:
    for code in ("sw", "hr", "ta", "sq"):
        assert unknown("a woman in a red dress on a rooftop at dusk. " * 6 + SENTENCES[code] + ". city lights, 35mm", languages()), code


def test_prompts_in_known_languages_pass() -> None:
    assert [text for text in HARMLESS if unknown(text, languages())] == []
    assert [
        text for text in ("x", "a cat", "prompt 17", "営業中", "Łódź", "1girl, bokeh", "", "   ", "4711") if unknown(text, languages())
    ] == []
