from .more import clean as tidy
