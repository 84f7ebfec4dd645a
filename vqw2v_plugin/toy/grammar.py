"""The toy corpus' sentences, drawn with a seed from a small grammar for each language."""

from __future__ import annotations

import random

# Bars separate a rule's alternatives, a token in capitals names another rule, a comma is a spoken pause.
_ENGLISH = {
    "S": "WHO ACTS | WHO DOES WHAT | WHO DOES WHAT WHERE | WHEN , WHO DOES WHAT"
    " | WHO DOES NUMBER THINGS WHERE"
    " | WHEN , WHO DOES NUMBER ADJ THINGS | call DIGIT DIGIT DIGIT DIGIT | DIGIT and DIGIT make NUMBER",
    "WHO": "the PERSON | my ADJ PERSON | her PERSON | your young PERSON",
    "PERSON": "doctor | teacher | mother | father | brother | sister | child | boy | girl | farmer"
    " | judge | king",
    "ACTS": "laughs | sleeps | sings | works | runs WHERE",
    "DOES": "sees | buys | finds | likes | carries | paints | measures | washes | brings | catches"
    " | enjoys | shows",
    "WHAT": "a ADJ THING | the THING | that ADJ THING | this THING",
    "THING": "house | boat | chair | fish | book | ring | cheese | watch | treasure | cup | shoe | bird"
    " | toy | map",
    "THINGS": "houses | boats | chairs | books | rings | watches | cups | shoes | birds | toys | maps"
    " | leaves",
    "ADJ": "small | big | red | blue | green | yellow | cheap | thick | huge | quiet | good | strange | warm",
    "WHERE": "near the PLACE | by the PLACE | behind the PLACE | under the PLACE | without FEELING",
    "FEELING": "joy | help | power | fear | hope",
    "PLACE": "river | bridge | church | zoo | village | garden | old tree | city | beach | tower | school",
    "WHEN": "today | tomorrow | yesterday | every morning | each night | this year | usually | before noon",
    "NUMBER": "two | three | four | five | six | seven | eight | nine | ten | eleven | twelve | twenty"
    " | thirty",
    "DIGIT": "zero | one | two | three | four | five | six | seven | eight | nine",
}
_GERMAN = {
    "S": "WER MACHT | WER TUT WEN | WER TUT WEN WO | WANN TUT WER WEN | WER TUT ZAHL DINGE WO"
    " | heute TUT WER ZAHL DINGE"
    " | ja , WER TUT WEN | nein , WER TUT nur ZAHL DINGE | die nummer ist ZIFFER ZIFFER ZIFFER"
    " | ZIFFER und ZIFFER macht ZAHL",
    "WER": "der ADJ MANN | die ADJ FRAU | das ADJ TIER | der MANN | die FRAU | das TIER",
    "MANN": "vater | bruder | lehrer | junge | könig | bäcker | nachbar | hund | freund",
    "FRAU": "mutter | schwester | lehrerin | katze | ärztin | königin | tochter | freundin",
    "TIER": "kind | mädchen | pferd | schaf | huhn",
    "MACHT": "lacht | schläft | singt | arbeitet | läuft WO",
    "TUT": "sieht | kauft | findet | trägt | malt | sucht | wäscht | bringt | zeichnet | mag | braucht"
    " | zeigt",
    "WEN": "den ADJN DER | die ADJ DIE | das ADJ DAS | den DER | die DIE | das DAS",
    "DER": "apfel | löffel | stuhl | fisch | schlüssel | brief | zug | teppich | schirm",
    "DIE": "tasche | blume | zeitung | brücke | flasche | milch | uhr | garage",
    "DAS": "buch | haus | brot | schiff | fenster | ei | feuer | geld",
    "DINGE": "äpfel | bücher | häuser | fische | schlüssel | züge | vögel | taschen | blumen | briefe",
    "ADJ": "kleine | große | schöne | junge | neue | rote | grüne | blaue | kluge | dicke | weiche",
    "ADJN": "kleinen | großen | schönen | alten | neuen | roten | grünen | blauen | teuren | weichen",
    "WO": "am fluss | im garten | auf der brücke | hinter der kirche | vor dem haus | unter dem baum"
    " | am meer",
    "WANN": "heute | morgen | gestern | jetzt | oft | manchmal | am freitag | im frühling | nachts",
    "ZAHL": "zwei | drei | vier | fünf | sechs | sieben | acht | neun | zehn | elf | zwölf | zwanzig"
    " | dreißig",
    "ZIFFER": "null | eins | zwei | drei | vier | fünf | sechs | sieben | acht | neun",
}
_FRENCH = {
    "S": "QUI AGIT | QUI FAIT QUOI | QUI FAIT QUOI LIEU | QUAND , QUI FAIT QUOI | QUI FAIT NOMBRE CHOSES LIEU"
    " | QUAND , QUI FAIT NOMBRE CHOSES | le numéro CHIFFRE CHIFFRE CHIFFRE"
    " | CHIFFRE plus CHIFFRE font NOMBRE",
    "QUI": "le LUI | la ELLE | le ADJM LUI | la ADJF ELLE | mon LUI | ma ADJF ELLE",
    "LUI": "garçon | père | frère | roi | boulanger | voisin | chien | médecin | juge",
    "ELLE": "fille | mère | reine | voisine | chatte | femme | vache | bergère",
    "AGIT": "rit | dort | chante | travaille | court LIEU",
    "FAIT": "cherche | trouve | porte | regarde | dessine | montre | lave | choisit | vend | garde"
    " | peint | veut",
    "QUOI": "le LE | la LA | un ADJM LE | une ADJF LA | ce LE | cette LA",
    "LE": "gâteau | livre | pain | vin | poisson | train | bateau | feu | cheval | peigne | soleil",
    "LA": "pomme | fleur | maison | chaise | montagne | feuille | lune | bague | cruche | jupe | glace",
    "CHOSES": "gâteaux | livres | poissons | bateaux | fleurs | pommes | chaises | feuilles | montagnes",
    "ADJM": "petit | grand | bon | jeune | vieux | gros | beau",
    "ADJF": "petite | grande | bonne | jeune | vieille | grosse | belle",
    "LIEU": "dans la cuisine | sous le pont | derrière la gare | près du jardin | chez le voisin"
    " | sur la table",
    "QUAND": "demain | hier | ce soir | chaque matin | lundi | vendredi | maintenant | depuis longtemps"
    " | toujours",
    "NOMBRE": "deux | trois | quatre | cinq | six | sept | huit | neuf | dix | onze | douze | vingt | trente",
    "CHIFFRE": "zéro | un | deux | trois | quatre | cinq | six | sept | huit | neuf",
}
_SPANISH = {
    "S": "QUIEN ACTUA | QUIEN HACE QUE | QUIEN HACE QUE LUGAR | CUANDO , QUIEN HACE QUE"
    " | QUIEN HACE NUMERO COSAS LUGAR"
    " | CUANDO , QUIEN HACE NUMERO COSAS | el número CIFRA CIFRA CIFRA | CIFRA más CIFRA son NUMERO",
    "QUIEN": "el EL | la ELLA | el EL ADJM | la ELLA ADJF | mi EL | tu ELLA",
    "EL": "niño | padre | hermano | rey | vecino | perro | médico | panadero | gallo | juez",
    "ELLA": "niña | madre | hermana | reina | vecina | señora | gallina | bruja | jefa | tía",
    "ACTUA": "ríe | duerme | canta | trabaja | corre LUGAR",
    "HACE": "busca | encuentra | lleva | mira | dibuja | compra | lava | elige | vende | guarda | quiere"
    " | enseña",
    "QUE": "el COSO | la COSA | un COSO ADJM | una COSA ADJF | este COSO | esta COSA",
    "COSO": "libro | queso | pan | pez | coche | reloj | zapato | barco | chocolate | fuego | jabón",
    "COSA": "manzana | flor | casa | silla | llave | guitarra | copa | zanahoria | leche | torre | rueda",
    "COSAS": "libros | quesos | coches | relojes | zapatos | barcos | flores | casas | sillas | llaves",
    "ADJM": "pequeño | joven | viejo | alegre | feliz | bueno | rojo | verde | azul",
    "ADJF": "pequeña | joven | vieja | alegre | feliz | buena | roja | verde | azul",
    "LUGAR": "en la cocina | bajo el puente | detrás de la iglesia | cerca del jardín | junto al río"
    " | sin duda",
    "CUANDO": "hoy | mañana | ayer | ahora | siempre | el jueves | cada noche | en invierno | muchas veces",
    "NUMERO": "dos | tres | cuatro | cinco | seis | siete | ocho | nueve | diez | once | doce | veinte"
    " | treinta",
    "CIFRA": "cero | uno | dos | tres | cuatro | cinco | seis | siete | ocho | nueve",
}
MIN_WORDS, MAX_WORDS = 3, 9

GRAMMARS = {"en": _ENGLISH, "de": _GERMAN, "fr": _FRENCH, "es": _SPANISH}


def check_language(language: str) -> None:
    """Refuse a language that has no grammar, naming those that do."""
    if language not in GRAMMARS:
        raise ValueError(
            f"`--languages` names `{language}`; expected some of {', '.join(GRAMMARS)}, "
            "as in `--languages en,de`"
        )


def draw_sentence(language: str, rng: random.Random) -> tuple[str, ...]:
    """One sentence of three to nine words: lower-case words, and `,` where the speaker pauses."""
    check_language(language)
    while True:
        tokens = tuple(_expand("S", GRAMMARS[language], rng))
        if MIN_WORDS <= sum(token != "," for token in tokens) <= MAX_WORDS:
            return tokens


def vocabulary(language: str) -> frozenset[str]:
    """Every word that the language's grammar can say."""
    check_language(language)
    tokens = {token for rule in GRAMMARS[language].values() for token in rule.split()}
    return frozenset(token for token in tokens if token not in {"|", ","} and token not in GRAMMARS[language])


def _expand(symbol: str, grammar: dict[str, str], rng: random.Random) -> list[str]:
    words: list[str] = []
    for token in rng.choice(grammar[symbol].split(" | ")).split():
        words.extend(_expand(token, grammar, rng) if token in grammar else [token])
    return words
