"""Names for containers that were given none: an adjective and a plant."""

import os

ADJECTIVES = (
    "agile amber ample ardent autumn azure balmy basic bold brave bright brisk calm candid careful "
    "clear clever coral cosmic crisp curious daring deep eager early easy elegant fair "
    "fancy fast fleet fond frank fresh gentle glad golden grand green happy hardy honest humble "
    "jolly keen kind late lively loyal lucid lucky mellow merry mild modest neat nimble noble "
    "open patient placid plain polite proud quick quiet rapid ready robust rosy round serene sharp "
    "silent silver simple sleek smart smooth snowy sober solid spry steady still stout sunny sure "
    "swift tidy true upbeat vivid warm wise witty young zesty"
)
PLANTS = (
    "acacia alder almond anise apple apricot ash aspen aster bamboo basil bay beech birch bluebell "
    "borage bracken briar cacao camellia caraway cedar celery cherry chestnut chicory clover "
    "cornflower cress crocus cypress dahlia daisy dill elder elm fennel fern fig fir flax foxglove "
    "freesia garlic gentian ginger hawthorn hazel heather hemlock holly hops hyacinth iris ivy "
    "jasmine juniper larch laurel lavender lemon lilac lily linden lotus lupin magnolia mallow "
    "maple marigold mint moss myrtle nettle nutmeg oak orchid oregano palm pansy pear "
    "peony pine plum poplar poppy primrose quince reed rose rosemary rowan rush sage sorrel "
    "spruce tansy thistle thyme tulip verbena violet walnut willow yarrow yew"
)


def random_name(attempt: int) -> str:
    """Make up a name; from the second attempt on with a number, so that one is always free."""
    first, second, number, more = os.urandom(4)
    adjective = _pick(ADJECTIVES, first << 8 | more)
    plant = _pick(PLANTS, second << 8 | number)
    return f"{adjective}_{plant}" + (str(number) if attempt else "")


def _pick(words: str, number: int) -> str:
    choices = words.split()
    return choices[number % len(choices)]
