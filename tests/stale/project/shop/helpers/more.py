import functools


def clean(text, sep=";"):
    parts = [part.strip() for part in text.split(sep)]
    return parts


def counted(function):
    @functools.wraps(function)
    def around(*args):
        return function(*args)

    return around
