"""The status page: what the database knows of a pipeline, to be looked at in a browser. Needs ``ozelot[ui]``."""
