"""The addresses of the wiki: of a page, and of a piece of a category's list of members."""

from urllib.parse import quote

# What a wiki leaves unescaped in the path of a page.
_SAFE = "()_,:'!-.~*@/"


def page_url(wiki_url: str, title: str) -> str:
    """The address of the page with this title; links on the wiki may escape more, such as `%27` for `'`."""
    return f"{wiki_url}/wiki/{quote(title.replace(' ', '_'), safe=_SAFE)}"


def category_url(wiki_url: str, category: str, continue_from: str | None = None) -> str:
    """The address that lists a category's members, 500 at a time.

    Args:
        wiki_url: The wiki, without a slash at the end.
        category: The category's name, without `Category:`.
        continue_from: `cmcontinue` of the piece before; `None` asks for the first piece.
    """
    first = (
        f"{wiki_url}/api.php?action=query&list=categorymembers"
        f"&cmtitle=Category:{quote(category.replace(' ', '_'), safe=_SAFE)}&cmlimit=500&format=json"
    )
    if continue_from is None:
        return first
    return f"{first}&cmcontinue={quote(continue_from, safe='')}"
