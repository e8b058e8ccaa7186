"""What a command takes beside Hydra's own arguments: flags, and values that are texts whatever stands in them; and
what it does not take: secrets."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.core.override_parser.types import Quote, QuotedString

from learnat.errors import LearnatError
from learnat.synthesis.checks import check_variable

# A password with a slash in it is no valid address, but a secret all the same.
_PASSWORD = re.compile(r"://[^/\s@:]*:[^\s@]+@")
_NAMED_PASSWORD = re.compile(r"password['\"]?\s*[=:]\s*[^\s&,}]", re.IGNORECASE)
_KEY_VARIABLE = re.compile(r"""api_key_env['"]?\s*[=:]\s*([^,}\s]+)""")
_QUOTED = re.compile(r"""(['"])(?:\\.|(?!\1).)*\1""", re.DOTALL)
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def hydra_arguments(arguments: Sequence[str], flags: Sequence[str] = (), texts: Sequence[str] = ()) -> list[str]:
    """``arguments`` as Hydra understands them.

    Args:
        flags: keys that a flag may set: ``--explain`` becomes ``explain=true``.
        texts: keys whose values are taken literally: to Hydra a comma would begin a sweep's next value, an apostrophe a
            quoted text, and ``${`` an interpolation. A value in quotes of its own is Hydra's to read. Only ``???``
            stays what it is to Hydra: a value that is left open.
    """
    return [_flag(argument, flags) or _text(argument, texts) or argument for argument in arguments]


def _flag(argument: str, flags: Sequence[str]) -> str | None:
    name = argument.removeprefix("--")
    return f"{name}=true" if name in flags and name != argument else None


def _text(argument: str, texts: Sequence[str]) -> str | None:
    key, equals, value = argument.partition("=")
    if not equals or key not in texts or _QUOTED.fullmatch(value):
        return None
    return f"{key}={QuotedString(literal(value), Quote.single).with_quotes()}"


def literal(text: str) -> str:
    """``text`` as a config must hold it in order to give it back as it is, interpolations or not."""
    return _INTERPOLATION.sub(lambda begin: begin[1] * 2 + r"\${", text)


def check_secrets(overrides: Sequence[str], texts: Sequence[str] = ()) -> None:
    """Raise ``LearnatError``, without telling it, for an override with a password or a key in it.

    To be called before there is a run folder: Hydra writes overrides there before any recipe sees them. An override may
    be one that Hydra cannot read, whose message would show it. The keys ``texts`` hold anything, so of them only an
    address is looked at.
    """
    for override in overrides:
        key, _, value = override.partition("=")
        key = re.split("[=:{]", key)[0].strip()
        text = key.lstrip("+") in texts and "://" not in value
        if _PASSWORD.search(override) or (not text and _NAMED_PASSWORD.search(override)):
            raise LearnatError(
                f"{key} holds a password, which would be written into the run folder: leave it out. Databases read "
                "~/.pgpass and PGPASSWORD; a chat server's key belongs into the variable that api_key_env names."
            )
        if text:
            continue
        if key.split(".")[-1] == "api_key_env":
            names = value.split(",")
        else:
            names, key = _KEY_VARIABLE.findall(override), f"{key}.api_key_env"
        for name in names:
            name = name.strip("'\" ")
            check_variable(key, None if name == "null" else name)
