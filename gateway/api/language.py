"""The languages that problems speak, and what a problem says in one of them."""

from typing import Final, NamedTuple

EN: Final = "en"
ZH: Final = "zh"
LANGUAGES: Final = (EN, ZH)


class Text(NamedTuple):
    """The words of one problem in one language.

    title: what it is, the same each time; detail: this occurrence, with `{name}` where a
    parameter goes; advice: for the documentation, what it means and what to do.
    """

    title: str
    detail: str
    advice: str
