"""The crash proof: whatever is done to a run, the next one ends in the database of a run that nothing disturbed.
"""
import random, sys, tempfile, time
from pathlib import Path
from tests.crash.databases import created
from tests.crash.subject import subject
from tests.crash import attacks
kind, n = sys.argv[1], int(sys.argv[2])
pipe = sys.argv[3] if len(sys.argv) > 3 else "synthetic"
with tempfile.TemporaryDirectory() as f, created(kind, Path(f)) as db, subject(pipe, db, Path(f), random.Random(1)) as s:
    print(s.pace)
    t=time.time()
    print(attacks.kill(s, n), time.time()-t)
