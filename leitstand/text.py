"""Text that comes from elsewhere: file names, answers of other hosts."""


def visible(text: str) -> str:
    """``text`` without anything that steers a terminal or begins a line; each such letter is replaced."""
    if text.isprintable():
        return text
    return "".join([letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text])
