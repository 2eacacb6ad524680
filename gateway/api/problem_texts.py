"""The words of every problem code, by code and language."""

from typing import Final

from gateway.api.language import Text
from gateway.api.problem_texts_audits import AUDITS
from gateway.api.problem_texts_letters import LETTERS
from gateway.api.problem_texts_request import ACCESS, BROKEN, MALFORMED
from gateway.api.problem_texts_sale import RESERVATION, SELLING

TEXTS: Final[dict[str, dict[str, Text]]] = {
    **MALFORMED,
    **ACCESS,
    **SELLING,
    **RESERVATION,
    **LETTERS,
    **AUDITS,
    **BROKEN,
}
