"""Names for containers that nobody named: an adjective and the surname of somebody who made computing what it is."""

import secrets
from collections.abc import Container

# One text a list: a line for each name would be most of this file.
_ADJECTIVES = (
    "able agile amber apt awake bold brave bright brisk calm candid civil clear clever cosy crisp curious daring deft eager early "
    "earnest even fair fond frank free fresh gentle glad golden good grand happy hardy honest humble ideal jolly keen kind lively loyal "
    "lucid lucky mellow merry mild modest neat nimble noble open patient placid plain polite prompt proud pure quick quiet rapid ready "
    "robust rosy sage serene sharp silent simple sincere sleek smart snug sober solid spry stable stately steady sturdy sunny sure "
    "swift tidy true trusty upbeat urban valid vivid warm wary wise witty young zesty "
)
_SURNAMES = (
    "aiken allen babbage backus bartik boole borg brooks bush cerf chomsky church clarke codd conway cook cray dahl dijkstra easley "
    "eckert engelbart feinler floyd godel goldberg goldstine gosling granville gray hamilton hamming hoare holberton hopper huffman "
    "iverson jacquard jennings johnson kahn karp kay keller kernighan kilburn kleene knuth lamport lampson leibniz lichterman liskov "
    "lovelace mauchly mccarthy mcclure mcilroy meltzer metcalfe milner minsky moore naur newell newman noyce nygaard pascal perlis "
    "perlman post postel rabin ritchie rivest scott shannon shaw simon snyder spence stallman strachey tarjan thompson torvalds turing "
    "ullman wexelblat wilkes wilkinson williams wing wirth wozniak yao zuse "
)
ADJECTIVES, SURNAMES = _ADJECTIVES.split(), _SURNAMES.split()


def generate(taken: Container[str]) -> str:
    """A name that is not in `taken`: `adjective_surname`, with a number behind it after some tries."""
    for attempt in range(20):
        name = f"{secrets.choice(ADJECTIVES)}_{secrets.choice(SURNAMES)}"
        if attempt > 5:
            name += str(secrets.randbelow(10 ** (attempt - 4)))
        if name not in taken:
            return name
    return f"{secrets.choice(ADJECTIVES)}_{secrets.token_hex(8)}"
