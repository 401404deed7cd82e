"""Val evaluation only."""
import sys
import dragoman.training as t
_e = t.evaluate
t.evaluate = lambda run, **k: _e(run, split="val")
t.write_report = lambda *a, **k: None
from dragoman.cli import main
sys.argv[0] = "dragoman"
main()
