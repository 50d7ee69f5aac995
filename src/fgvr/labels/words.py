"""Word lists for reading names out of English prose: plain data, one list a purpose."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP = _words("""
    according across also although among appears are around as at based because being belonging between but by called
    can characterised characterized close commonly could definitively due during especially flying for from given had
    has have he here however i if indicated into is it its known like likely may might must named namely native not on
    over particularly perched perhaps pictured possibly probably rather resembles resembling seems seen she showing
    shown sitting so specifically standing such suggested suggests that their then there these they this though through
    to toward towards under versus was we were when where whereas which while who whose with within without would you
""")
"""End a name: verbs, pronouns, prepositions, adverbs."""
JOIN = _words("""
    and da de del di du in la le of the van von
""")
"""Small words inside names (bird of paradise, love in the mist)."""
TRAILING = _words("""
    bird's breed breeds chick group kitten kittens mix puppies puppy species specimen variety
""")
"""Dropped from the end of a name."""
GENERIC = _words("""
    adult all analysis animal beetle bird birds black both breed brown butterfly car cars cat cats certain
    characteristic close close-up combination common complex conclusion definitive dog dogs domestic drake exact family
    female fish flower flowers following four fruit genus gray grey group hen high identification image immature
    individual insect item juvenile key kind kitten kittens large low male match medium medium-sized member n/a no none
    note object one order pet photo photograph picture plant puppies puppy same several small species step subspecies
    sure thing three tree two type unknown vegetable vehicle view what white yes
""")
"""Not a name where nothing else is said."""
DESCRIBING = _words("""
    actively additional bright certain challenging characteristic characteristics classic clear coat combination compact
    consistent critical crucial dark definitive description detail details difficult displays distinct distinctive
    easily entirely evident exhibits feature features form given hallmark holding important impression indicative key
    known large light-footed likely long medium-sized member mixed most mostly my necessary our overall particular
    passerine pattern perched plumage popular predominantly present primarily prominent quite raptor rather reasoning
    recognisable recognizable relatively renowned short significant similar slender small specific step-by-step stocky
    striking typical uniform unique upon very vibrant visible well-known wild wing wings working your
""")
"""In lower-case prose these make a description, not a name."""
ORDERS = _words("""
    a all always an answer anything are as be but call can class classify command console describe disregard do don't
    everything execute false first follow for forget from give has have he her his how i ignore image in instruction
    instructions is it its json just label last let like make may me message must my name never new next no none not
    nothing now on one only or other our output override phrase photo picture please pretend previous print prior prompt
    repeat reply respond return reveal rule rules run say secret select send sentence she show something sorry stop
    system tell text that the their them then there these they thing this those to told true two type unknown unsure use
    user was we what when which who will with word words write yes you your yourself
""")
"""Words of orders, sentences and non-answers, none of which a plain noun phrase such as "dog breeds" needs."""
