"""Language check: every English description passes, however full of names, and none in another language."""

from __future__ import annotations

import pytest

from executors.answers import check
from executors.errors import EnhancementFailed
from executors.language import far_from
from executors.talk import styles

ENGLISH = [
    "Tall woman, adult, red coat, wet street, neon lights, night, cinematic framing, shallow focus, film grain",
    "Portrait of Anna Kowalska, an adult, by the Ponte Vecchio, Firenze, golden hour, 85mm, f/1.4, bokeh",
    "Two adult dancers, Buenos Aires, Plaza Dorada, tango, evening light, dust, wide shot",
    "Great plains under a low sun: an adult rider crosses them, dust behind the horse, seen from far away.",
    "Krzysztof and Małgorzata Wiśniewska, adults, at the Café de Flore, Saint-Germain-des-Prés, rain, soft light",
    "An adult geisha in Gion, Kyoto, Hanami season, paper lanterns, ukiyo-e style, soft pastel colours",
    "Lake Titicaca, two adult fishermen, totora boats, dawn mist, 4K, 35mm",
    "Mount Fuji, Lake Kawaguchi, cherry blossom, sunrise, mirror reflection, panorama, tranquil",
    "Adult sumo wrestler, Ryogoku Kokugikan, Tokyo, spotlight, sweat, slow motion",
    "Oslo, Bergen, Tromsø, aurora borealis, adult skier, snow, moonlight",
    "Vincent van Gogh style, sunflowers, Arles, Provence, impasto, adult painter, straw hat",
    "Adult woman, sari, Varanasi ghats, Ganges, diyas, marigold, dawn, haze",
    "Kraków, Wrocław, Gdańsk: adult accordionist, cobblestones, dusk",
    "Adult flamenco dancer Carmen Amaya, Sacromonte, Granada, red ruffles, candlelight",
    "Samurai, katana, bamboo, mist, adult, ink wash, minimal",
    "Adult man, lederhosen, Oktoberfest, München, beer tent, warm light",
    "Adult woman in áo dài, Hội An, lanterns, Thu Bồn river, night",
    "Adult fisherman, Póvoa de Varzim, Atlântico, storm light, oilskins",
    "A shop sign reads 営業中; beneath it an adult cook in a blue apron bows to the camera, steam all around him.",
    "A sign reads “geöffnet” above the door of a bar; inside, two adult women laugh in warm light.",
]
OTHER = {
    "German": "Eine große Frau Mitte dreißig, eine Erwachsene, geht nachts eine nasse Straße entlang, Neonschilder spiegeln sich darin.",
    "German, phrases": "Große Frau, roter Mantel, nasse Straße, Neonlichter, Nacht, filmische Einstellung",
    "French": "Une grande femme adulte marche la nuit dans une rue mouillée, des enseignes au néon se reflètent dans les flaques.",
    "French, phrases": "Femme adulte, manteau rouge, rue mouillée, néons, nuit, cadrage cinématographique",
    "Spanish": "Una mujer adulta camina de noche por una calle mojada, los letreros de neón se reflejan en los charcos.",
    "Spanish, phrases": "Mujer adulta, abrigo rojo, calle mojada, luces de neón, noche, encuadre cinematográfico",
    "Italian": "Una donna adulta cammina di notte lungo una strada bagnata, le insegne al neon si riflettono nelle pozzanghere.",
    "Portuguese": "Uma mulher adulta caminha à noite por uma rua molhada, os letreiros de néon refletidos nas poças.",
    "Dutch": "Een volwassen vrouw loopt 's nachts door een natte straat, neonreclames weerspiegelen in de plassen.",
    "Polish": "Dorosła kobieta idzie nocą mokrą ulicą, neony odbijają się w kałużach, kamera powoli za nią podąża.",
    "Turkish": "Yetişkin bir kadın geceleyin ıslak bir sokakta yürüyor, neon tabelalar su birikintilerine yansıyor.",
    "Indonesian": "Seorang wanita dewasa berjalan di jalan basah pada malam hari, lampu neon terpantul di genangan air.",
    "Danish": "En voksen kvinde går ad en våd gade om natten, neonskilte spejler sig i vandpytterne.",
    "Vietnamese": "Một người phụ nữ trưởng thành đi trên con phố ướt vào ban đêm, đèn neon phản chiếu trong vũng nước.",
    "Russian": "Взрослая женщина идёт ночью по мокрой улице, неоновые вывески отражаются в лужах.",
    "Chinese": "一位三十多岁的成年女性夜晚走在湿漉漉的街道上，霓虹灯倒映在水洼中，镜头缓缓跟随她穿过安静的城市。",
    "Japanese": "三十代の大人の女性が夜、濡れた通りを歩いている。ネオンが水たまりに映り、カメラがゆっくり追う。",
    "Arabic": "امرأة بالغة تمشي ليلا في شارع مبلل وتنعكس أضواء النيون في البرك.",
    "Hindi": "एक वयस्क महिला रात में गीली सड़क पर चल रही है, नियॉन संकेत पोखरों में प्रतिबिंबित होते हैं।",
    "slips into Chinese": "A tall adult woman walks along a wet street at night, neon all around her, and the camera follows her slowly. "
    "霓虹灯倒映在水洼中，雨水落在她的红色外套上。",
    "slips into German": "A tall adult woman walks along a wet street at night. Die Neonschilder spiegeln sich in den Pfützen, und die "
    "Kamera folgt ihr langsam durch den Regen.",
}


@pytest.mark.parametrize("text", ENGLISH, ids=lambda text: text[:24])
def test_english_full_of_names_passes(text: str) -> None:
    assert far_from(text, "en") == ""
    check(text, styles()["sdxl"])


@pytest.mark.parametrize("language", OTHER)
def test_another_language_is_refused(language: str) -> None:
    assert far_from(OTHER[language], "en")
    with pytest.raises(EnhancementFailed, match=r"not in the language asked for|not made of words") as failed:
        check(OTHER[language], styles()["sdxl"])
    assert OTHER[language][:9] not in str(failed.value)  # the model's text stays out of events and logs


@pytest.mark.parametrize("family", ["wan", "wan_image", "sdxl"])
def test_the_configured_language_is_checked(family: str) -> None:
    assert styles()[family].language == "en"
    assert "in English" in " ".join(styles()[family].system.split())
